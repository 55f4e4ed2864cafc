//! `pki renew` and `pki enrol`: from what was typed to what is printed, and what to do when it fails.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use pki::PassphraseSources;
use pki::renewal::{
    Anchor, Enrol, EstError, Issuer, Jitter, Obtained, Outcome, Renew, RenewalError, Renewed,
    TokenError,
};
use serde_json::{Value, json};

use super::{Failure, hint, print, renewal_args};

/// Exit code: nothing was done, because it is not due.
pub(super) const NOT_DUE: u8 = 3;

pub(super) fn renew(args: renewal_args::Renew, now: Timestamp) -> Result<String, Failure> {
    let passphrases = PassphraseSources::from(args.passphrases);
    let authority = match (args.dir, args.est) {
        (None, Some(_)) if passphrases != PassphraseSources::default() => {
            return Err(Failure::Usage {
                message: "an EST server needs no passphrase of ours".to_owned(),
                hint: "give a passphrase with --dir alone",
            });
        }
        (Some(directory), None) => Issuer::Here {
            directory,
            passphrases,
            grace_days: args.grace_days,
            revoke_old: args.revoke_old,
        },
        (None, Some(server)) => Issuer::Est {
            server,
            trust: args.trust,
        },
        _ => unreachable!("clap asks for one of the two"),
    };
    let jitter = match args.jitter.as_str() {
        "none" => Jitter::None,
        _ => Jitter::Spread,
    };
    let plan = Renew {
        directory: args.directory,
        authority,
        if_needed: args.if_needed.then_some((args.at, jitter)),
        same_key: args.same_key,
    };
    match pki::renewal::renew(&plan, now)? {
        Outcome::NotDue {
            serial,
            due,
            not_after,
        } => Err(Failure::NotDue(if args.json {
            print::document(&json!({
                "renewed": false,
                "serial": serial.to_string(),
                "due": due.to_string(),
                "not_after": not_after.to_string(),
            }))
        } else {
            format!("certificate {serial} is due at {due}, valid until {not_after}\n")
        })),
        Outcome::Renewed(renewed) => {
            let Renewed { new, old, revoked } = *renewed;
            let crls = revoked.as_ref().map(|revoked| revoked.crls.as_slice());
            if args.json {
                let mut value = obtained_json(&new);
                value["renewed"] = json!(true);
                value["old"] = json!({
                    "serial": old.0.to_string(),
                    "not_after": old.1.to_string(),
                    "revoked": revoked.is_some(),
                });
                value["crls"] = crls
                    .unwrap_or_default()
                    .iter()
                    .map(print::crl_json)
                    .collect();
                return Ok(print::document(&value));
            }
            let mut text = format!("renewed      {} by {}\n", old.0, new.serial);
            text += &obtained(&new);
            let _ = match crls {
                Some(crls) => write!(text, "old          revoked\n{}", print::crl_lines(crls)),
                None if now <= old.1 => writeln!(text, "old          valid until {}", old.1),
                None => writeln!(text, "old          expired at {}", old.1),
            };
            Ok(text)
        }
    }
}

pub(super) fn enrol(args: renewal_args::Enrol, now: Timestamp) -> Result<String, Failure> {
    let anchor = match (args.trust, args.fingerprint) {
        (Some(path), None) => Anchor::File(path),
        (None, Some(fingerprint)) => Anchor::Fingerprint(fingerprint.0),
        _ => unreachable!("clap asks for one of the two"),
    };
    let new = pki::renewal::enrol(
        &Enrol {
            server: args.est,
            name: args.id,
            token: args.token_from,
            anchor,
            directory: args.out,
        },
        now,
    )?;
    if args.json {
        return Ok(print::document(&obtained_json(&new)));
    }
    Ok(format!("enrolled     {}\n{}", new.serial, obtained(&new)))
}

fn obtained(new: &Obtained) -> String {
    let files = &new.files;
    format!(
        "not before   {}\nnot after    {}\nsha256       {}\n\
         wrote        {}\n             {}\n             {} (secret)\n             {}\n",
        new.validity.not_before,
        new.validity.not_after,
        new.sha256,
        files.certificate.display(),
        files.chain.display(),
        files.key.display(),
        files.trust.display(),
    )
}

fn obtained_json(new: &Obtained) -> Value {
    let path = |path: &Path| print::path(path);
    json!({
        "serial": new.serial.to_string(),
        "not_before": new.validity.not_before.to_string(),
        "not_after": new.validity.not_after.to_string(),
        "sha256": new.sha256,
        "files": {
            "certificate": path(&new.files.certificate),
            "chain": path(&new.files.chain),
            "key": path(&new.files.key),
            "trust": path(&new.files.trust),
        },
    })
}

/// What to do about it. Exhaustive, like all hints.
pub(super) fn hint(error: &RenewalError) -> String {
    let text = match error {
        RenewalError::File(error) => return hint::file(error),
        RenewalError::Key { error, .. } => return hint::key(*error).to_owned(),
        RenewalError::Authority(error) => return hint::hint(error),
        RenewalError::NotRenewed { error, .. } => return hint(error),
        RenewalError::OldNotRevoked { serial, error } => {
            return format!(
                "{}; then `pki revoke --dir DIR --serial {serial} --reason superseded`",
                hint::hint(error)
            );
        }
        RenewalError::Certificate { .. } => {
            "give a directory as `pki issue --out` writes it, with the certificate of an end entity"
        }
        RenewalError::Mismatch { .. } => {
            "put the file in place that belongs there; if it is lost, `pki issue` or `pki enrol` makes a new pair"
        }
        RenewalError::Others { .. } => "give it a directory of its own",
        RenewalError::MountPoint { .. } => "use a directory below it",
        RenewalError::NoExchange { .. } => {
            "keep the certificate on a local file system, such as ext4, xfs, btrfs or tmpfs"
        }
        RenewalError::Busy { .. } => "try again when it is done",
        RenewalError::Trust { .. } => "put the certificate of the authority's root there",
        RenewalError::Unsigned => "leave --same-key away: a new key is made",
        RenewalError::Fingerprint => {
            "compare it with that of the authority's trust.pem: openssl x509 -noout -fingerprint -sha256. \
             If they are equal, somebody answers in the server's place"
        }
        RenewalError::Revoked { .. } => {
            "if its holder is to go on, issue a first certificate again, for a new key"
        }
        RenewalError::TooLate { .. } => {
            "issue a first certificate again: `pki issue`, or a token and `pki enrol`"
        }
        RenewalError::Est(error) => est(error),
        RenewalError::Answer(_) => {
            "nothing of it was kept; ask whoever runs the authority why it answers so"
        }
        RenewalError::Token(error) => match error {
            TokenError::Secret(error) => return hint::secret(error),
            TokenError::Stdin(_) => "let it come over a pipe, or name another source",
            TokenError::Form => "give the token as it was handed out, and nothing else",
        },
    };
    text.to_owned()
}

fn est(error: &EstError) -> &'static str {
    match error {
        EstError::Connect { .. } => {
            "check host and port, and that the server runs; the next run tries again"
        }
        EstError::Tls(_) => {
            "check that the server's certificate leads to the trusted root and names this host, and that \
             one's own was neither revoked nor expired too long ago"
        }
        EstError::Unanswered(_) | EstError::Slow => {
            "run it again; a certificate that was granted meanwhile stays unused"
        }
        EstError::Refused { status: 401, .. } => {
            "the token was used, is too old, or is for another name; or the certificate was revoked or \
             expired too long ago: ask for a token"
        }
        EstError::Refused { .. } => "ask whoever runs the authority; its log says more",
        EstError::Later { .. } => "run it again later",
        EstError::Answer => "check that an EST server is there",
        EstError::Request => "give a name and a token of printable ASCII",
        EstError::Trust => "put the certificate of the authority's root there",
        EstError::Key => "restore the key file from its backup",
        EstError::Runtime(_) => "look at the limits of the process and at the kernel's log",
    }
}
