-- The inventory: every serial that was ever drawn, and what became of it.
-- Times are seconds since 1970-01-01T00:00:00Z. Serials and hashes are lower-case hexadecimal.
-- `schema-postgres.sql` says the same in the words of PostgreSQL.

CREATE TABLE authorities (
    id        INTEGER PRIMARY KEY,
    role      TEXT    NOT NULL CHECK (role IN ('root', 'issuing')),
    key_id    TEXT    NOT NULL UNIQUE CHECK (length(key_id) = 40),
    -- Where the numbers of a CRL begin that was never published.
    crl_floor INTEGER NOT NULL DEFAULT 1 CHECK (crl_floor >= 1)
) STRICT;

-- The CRLs of an authority: one whole list (shard -1), or one a shard (RFC 5280 5.2.5).
CREATE TABLE crls (
    authority        INTEGER NOT NULL REFERENCES authorities (id),
    shard            INTEGER NOT NULL CHECK (shard BETWEEN -1 AND 65535),
    -- CRL numbers (RFC 5280 5.2.3): the next one to hand out, and the last one that was published.
    next_number      INTEGER NOT NULL CHECK (next_number >= 1),
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
    -- From 'revoked' on.
    revoked_at     INTEGER,
    reason         TEXT,
    -- The first CRL whose thisUpdate lies beyond notAfter; later ones leave the entry out
    -- (RFC 5280 3.3).
    retired_by_crl INTEGER,
    -- From 'issued' on. The octets come last: whoever reads a row does not read past them.
    fingerprint    TEXT CHECK (length(fingerprint) = 64),
    issued_at      INTEGER,
    der            BLOB,

    UNIQUE (serial, issuer),
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

-- How many certificates there are of a kind, kept by the triggers below: to count a million takes
-- longer than to list a page of them.
CREATE TABLE counts (
    issuer  INTEGER NOT NULL REFERENCES authorities (id),
    profile TEXT    NOT NULL,
    status  TEXT    NOT NULL,
    number  INTEGER NOT NULL CHECK (number >= 0),
    PRIMARY KEY (issuer, profile, status)
) STRICT, WITHOUT ROWID;

-- One-time permissions to enrol (`pki token`). The token itself is known to its holder alone.
CREATE TABLE tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    authority    INTEGER NOT NULL REFERENCES authorities (id),
    token_sha256 TEXT    NOT NULL UNIQUE CHECK (length(token_sha256) = 64),
    profile      TEXT    NOT NULL,
    label        TEXT    NOT NULL,
    made_at      INTEGER NOT NULL,
    made_by      TEXT    NOT NULL,
    expires_at   INTEGER NOT NULL,
    used_at      INTEGER,
    used_by      INTEGER REFERENCES certificates (id),
    cancelled_at INTEGER,
    cancelled_by TEXT,
    CHECK ((used_at IS NULL) = (used_by IS NULL)),
    CHECK ((cancelled_at IS NULL) = (cancelled_by IS NULL)),
    CHECK (used_at IS NULL OR cancelled_at IS NULL)
) STRICT;

CREATE TABLE token_names (
    token    INTEGER NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind     TEXT    NOT NULL CHECK (kind IN ('uri', 'dns', 'ip', 'hardware')),
    value    TEXT    NOT NULL,
    PRIMARY KEY (token, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX names_by_value ON names (value, certificate, position);
CREATE INDEX names_beyond_first ON names (value, certificate) WHERE position > 0;
CREATE INDEX certificates_by_key ON certificates (key_sha256);
CREATE INDEX certificates_by_tbs ON certificates (tbs_sha256);
CREATE INDEX certificates_by_kind ON certificates (issuer, profile, status, id, not_after);
CREATE INDEX certificates_by_expiry ON certificates (issuer, profile, not_after, id)
    WHERE status = 'issued';
CREATE INDEX certificates_for_crl ON certificates (issuer, shard, not_after)
    WHERE status = 'revoked' AND retired_by_crl IS NULL;
CREATE INDEX certificates_off_crl ON certificates (issuer, shard, not_after)
    WHERE status = 'revoked' AND retired_by_crl IS NOT NULL;
CREATE INDEX tokens_open ON tokens (expires_at) WHERE used_at IS NULL AND cancelled_at IS NULL;
CREATE INDEX tokens_by_use ON tokens (used_by) WHERE used_by IS NOT NULL;

-- Counting.

CREATE TRIGGER a_certificate_more AFTER INSERT ON certificates
BEGIN
    INSERT INTO counts (issuer, profile, status, number) VALUES (NEW.issuer, NEW.profile, NEW.status, 1)
        ON CONFLICT (issuer, profile, status) DO UPDATE SET number = counts.number + 1;
END;

CREATE TRIGGER a_certificate_changes AFTER UPDATE OF status ON certificates
WHEN NEW.status <> OLD.status
BEGIN
    UPDATE counts SET number = number - 1
        WHERE issuer = OLD.issuer AND profile = OLD.profile AND status = OLD.status;
    INSERT INTO counts (issuer, profile, status, number) VALUES (NEW.issuer, NEW.profile, NEW.status, 1)
        ON CONFLICT (issuer, profile, status) DO UPDATE SET number = counts.number + 1;
END;

-- What must never happen, whatever program writes here.

CREATE TRIGGER certificates_are_kept BEFORE DELETE ON certificates
BEGIN SELECT RAISE(ABORT, 'a serial that was drawn is never forgotten'); END;

CREATE TRIGGER names_are_kept BEFORE DELETE ON names
BEGIN SELECT RAISE(ABORT, 'a name that was granted is never forgotten'); END;

CREATE TRIGGER names_are_fixed BEFORE UPDATE ON names
BEGIN SELECT RAISE(ABORT, 'a name that was granted never changes'); END;

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

CREATE TRIGGER authorities_are_kept BEFORE DELETE ON authorities
BEGIN SELECT RAISE(ABORT, 'an authority is never forgotten'); END;

CREATE TRIGGER authorities_are_fixed BEFORE UPDATE ON authorities
WHEN NEW.id <> OLD.id OR NEW.role <> OLD.role OR NEW.key_id <> OLD.key_id OR NEW.crl_floor < OLD.crl_floor
BEGIN SELECT RAISE(ABORT, 'an authority never changes'); END;

CREATE TRIGGER used_tokens_are_kept BEFORE DELETE ON tokens
WHEN OLD.used_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a token that was used is never forgotten'); END;

CREATE TRIGGER tokens_are_used_once BEFORE UPDATE ON tokens
WHEN OLD.used_at IS NOT NULL OR OLD.cancelled_at IS NOT NULL
  OR NEW.id <> OLD.id OR NEW.authority <> OLD.authority OR NEW.token_sha256 <> OLD.token_sha256
  OR NEW.profile <> OLD.profile OR NEW.expires_at > OLD.expires_at
BEGIN SELECT RAISE(ABORT, 'a token is used once'); END;

CREATE TRIGGER token_names_are_fixed BEFORE UPDATE ON token_names
BEGIN SELECT RAISE(ABORT, 'what a token stands for never changes'); END;
