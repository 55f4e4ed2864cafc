-- The inventory: every serial that was ever drawn, and what became of it.
-- Times are seconds since 1970-01-01T00:00:00Z. Serials and hashes are lower-case hexadecimal.

CREATE TABLE authorities (
    id               INTEGER PRIMARY KEY,
    role             TEXT    NOT NULL CHECK (role IN ('root', 'issuing')),
    key_id           TEXT    NOT NULL UNIQUE CHECK (length(key_id) = 40)
) STRICT;

-- The CRLs of an authority: one whole list (shard -1), or one a shard (RFC 5280 5.2.5).
CREATE TABLE crls (
    authority        INTEGER NOT NULL REFERENCES authorities (id),
    shard            INTEGER NOT NULL CHECK (shard BETWEEN -1 AND 65535),
    -- CRL numbers (RFC 5280 5.2.3): the next one to hand out, and the last one that was published.
    next_number      INTEGER NOT NULL DEFAULT 1 CHECK (next_number >= 1),
    published_number INTEGER NOT NULL DEFAULT 0 CHECK (published_number < next_number),
    this_update      INTEGER,
    next_update      INTEGER,
    entries          INTEGER,
    PRIMARY KEY (authority, shard),
    CHECK (published_number = 0 OR (this_update IS NOT NULL AND next_update IS NOT NULL AND entries IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE certificates (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    issuer         INTEGER NOT NULL REFERENCES authorities (id),
    serial         TEXT    NOT NULL CHECK (length(serial) BETWEEN 2 AND 40),
    -- The CRL that says so if it is revoked, as in `crls`. The certificate names it, so it is fixed.
    shard          INTEGER NOT NULL CHECK (shard BETWEEN -1 AND 65535),
    status         TEXT    NOT NULL CHECK (status IN ('reserved', 'pending', 'issued', 'revoked')),
    profile        TEXT    NOT NULL,
    -- What lists call it: the first name, or the common name of an authority.
    label          TEXT    NOT NULL,
    key_origin     TEXT    NOT NULL CHECK (key_origin IN ('new', 'request')),
    key_sha256     TEXT    NOT NULL CHECK (length(key_sha256) = 64),
    reserved_at    INTEGER NOT NULL,
    -- From 'pending' on: what was about to be signed.
    tbs_sha256     TEXT CHECK (length(tbs_sha256) = 64),
    not_before     INTEGER,
    not_after      INTEGER,
    -- From 'issued' on.
    der            BLOB,
    fingerprint    TEXT CHECK (length(fingerprint) = 64),
    issued_at      INTEGER,
    -- From 'revoked' on.
    revoked_at     INTEGER,
    reason         TEXT,
    -- The first CRL whose thisUpdate lies beyond notAfter; later ones leave the entry out
    -- (RFC 5280 3.3).
    retired_by_crl INTEGER,

    UNIQUE (issuer, serial),
    CHECK (status = 'reserved' OR (tbs_sha256 IS NOT NULL AND not_before IS NOT NULL AND not_after IS NOT NULL)),
    CHECK (status <> 'issued' OR (der IS NOT NULL AND fingerprint IS NOT NULL AND issued_at IS NOT NULL)),
    CHECK ((status = 'revoked') = (revoked_at IS NOT NULL AND reason IS NOT NULL))
) STRICT;

CREATE TABLE names (
    certificate INTEGER NOT NULL REFERENCES certificates (id),
    position    INTEGER NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('uri', 'dns', 'ip', 'hardware')),
    value       TEXT    NOT NULL,
    PRIMARY KEY (certificate, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX names_by_value ON names (value, certificate);
CREATE INDEX certificates_by_key ON certificates (key_sha256);
CREATE INDEX certificates_by_expiry ON certificates (status, not_after);
CREATE INDEX certificates_for_crl ON certificates (issuer, shard, not_after)
    WHERE status = 'revoked' AND retired_by_crl IS NULL;
CREATE INDEX certificates_off_crl ON certificates (issuer, shard, not_after)
    WHERE status = 'revoked' AND retired_by_crl IS NOT NULL;

-- What must never happen, whatever program writes here.

CREATE TRIGGER certificates_are_kept BEFORE DELETE ON certificates
BEGIN SELECT RAISE(ABORT, 'a serial that was drawn is never forgotten'); END;

CREATE TRIGGER names_are_kept BEFORE DELETE ON names
BEGIN SELECT RAISE(ABORT, 'a name that was granted is never forgotten'); END;

CREATE TRIGGER identity_is_fixed BEFORE UPDATE OF id, issuer, serial, shard, profile, key_sha256 ON certificates
BEGIN SELECT RAISE(ABORT, 'what a serial stands for never changes'); END;

CREATE TRIGGER states_go_forward BEFORE UPDATE OF status ON certificates
WHEN NOT (   (OLD.status = 'reserved' AND NEW.status = 'pending')
          OR (OLD.status = 'pending'  AND NEW.status IN ('issued', 'revoked'))
          OR (OLD.status = 'issued'   AND NEW.status = 'revoked'))
BEGIN SELECT RAISE(ABORT, 'states go forward only'); END;

CREATE TRIGGER crls_are_kept BEFORE DELETE ON crls
BEGIN SELECT RAISE(ABORT, 'a CRL number that was handed out is never forgotten'); END;

CREATE TRIGGER crl_numbers_go_up BEFORE UPDATE ON crls
WHEN NEW.authority <> OLD.authority OR NEW.shard <> OLD.shard
  OR NEW.next_number < OLD.next_number OR NEW.published_number < OLD.published_number
BEGIN SELECT RAISE(ABORT, 'CRL numbers go up only'); END;
