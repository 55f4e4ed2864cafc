//! The Merkle log against an independent implementation: the crates `tlog_tiles` and `signed_note`.
//!
//! Each side makes what the other judges: roots, proofs, tiles, checkpoints, keys and notes.

use std::collections::BTreeMap;
use std::convert::Infallible;

use audit::merkle::checkpoint::Checkpoint;
use audit::merkle::hash::{self, Hash};
use audit::merkle::key::{Cosigner, Signer, Verifier};
use audit::merkle::note::{Note, Signature};
use audit::merkle::proof::{Consistency, Inclusion};
use audit::merkle::range::Head;
use audit::merkle::tile::{Edge, Kind, Tile, TileNodes, Tiles, encode, grown};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signed_note::{Signer as _, StandardSigner, StandardVerifier, Verifier as _, VerifierList};
use tlog_tiles::tile::{Tile as TheirTile, TileHashReader, TileReader};
use tlog_tiles::tlog::{self, HashReader};

const ORIGIN: &str = "example.com/log";
const HEIGHT: u8 = 8;

/// A tree that they keep: all hashes, in the order of their storage.
#[derive(Default)]
struct Theirs(Vec<tlog::Hash>);

impl Theirs {
    fn append(&mut self, index: u64, entry: &[u8]) {
        let hash = tlog::record_hash(entry);
        let made = tlog::stored_hashes_for_record_hash(index, hash, self).unwrap();
        self.0.extend(made);
    }
}

impl HashReader for Theirs {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        let place = |index: &u64| usize::try_from(*index).unwrap();
        Ok(indexes.iter().map(|index| self.0[place(index)]).collect())
    }
}

/// The directory that we write: tiles by path.
#[derive(Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn write(&mut self, tile: Tile, hashes: &[Hash]) {
        self.0.insert(tile.to_string(), encode(hashes));
    }
}

impl Tiles for &Files {
    type Error = Infallible;

    fn read(&mut self, tile: &Tile) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.0.get(&tile.to_string()).cloned())
    }
}

/// Their paths name the height; those of C2SP do not.
fn path(tile: &TheirTile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1)
}

impl TileReader for Files {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[TheirTile]) -> Result<Vec<Vec<u8>>, tlog::Error> {
        Ok(tiles
            .iter()
            .map(|tile| self.0[&path(tile)].clone())
            .collect())
    }

    fn save_tiles(&self, _: &[TheirTile], _: &[Vec<u8>]) {}
}

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

fn theirs(hash: Hash) -> tlog::Hash {
    tlog::Hash(*hash.bytes())
}

fn all_theirs(path: &[Hash]) -> Vec<tlog::Hash> {
    path.iter().copied().map(theirs).collect()
}

/// The same entries in both trees; ours as tiles at `size`.
fn trees(size: u64) -> (Edge, Files, Theirs) {
    let (mut edge, mut files, mut their) = (Edge::new(), Files::default(), Theirs::default());
    for number in 0..size {
        let entry = entry(number);
        edge.append(hash::leaf(&entry), |tile, hashes| files.write(tile, hashes));
        their.append(number, &entry);
    }
    for (tile, hashes) in edge.partial() {
        files.write(tile, hashes);
    }
    (edge, files, their)
}

#[test]
fn roots_are_theirs_at_every_size() {
    let (mut edge, mut their) = (Edge::new(), Theirs::default());
    for size in 0..600 {
        let root = tlog::tree_hash(size, &their).unwrap();
        assert_eq!(theirs(edge.head().root), root, "{size}");
        let entry = entry(size);
        edge.append(hash::leaf(&entry), |_, _| {});
        their.append(size, &entry);
    }
}

#[test]
fn proofs_out_of_our_tiles_are_theirs_and_verify_there() {
    let size = 777;
    let (edge, files, their) = trees(size);
    let root = theirs(edge.head().root);
    let mut nodes = TileNodes::new(&files, size);
    for index in 0..size {
        let ours = Inclusion::prove(&mut nodes, index, size).unwrap();
        let path = all_theirs(&ours.path);
        assert_eq!(path, tlog::prove_record(size, index, &their).unwrap());
        let leaf = tlog::record_hash(&entry(index));
        tlog::check_record(&path, size, root, index, leaf).unwrap();
    }
    for from in 1..=size {
        let ours = Consistency::prove(&mut nodes, from, size).unwrap();
        let path = all_theirs(&ours.path);
        assert_eq!(path, tlog::prove_tree(size, from, &their).unwrap());
        let before = tlog::tree_hash(from, &their).unwrap();
        tlog::check_tree(&path, size, root, from, before).unwrap();
    }
}

#[test]
fn their_proofs_verify_here() {
    let size = 300;
    let (edge, _, their) = trees(size);
    let ours = |path: Vec<tlog::Hash>| path.into_iter().map(|hash| Hash::new(hash.0)).collect();
    for index in 0..size {
        let path = ours(tlog::prove_record(size, index, &their).unwrap());
        let leaf = hash::leaf(&entry(index));
        let proof = Inclusion { index, path };
        assert_eq!(proof.verify(&leaf, &edge.head()), Ok(()));
    }
    for from in 1..=size {
        let path = ours(tlog::prove_tree(size, from, &their).unwrap());
        let root = Hash::new(tlog::tree_hash(from, &their).unwrap().0);
        let before = Head { size: from, root };
        assert_eq!(Consistency { path }.verify(&before, &edge.head()), Ok(()));
    }
}

#[test]
fn our_tiles_are_read_and_authenticated_there() {
    // Three levels of tiles, the upper two partial.
    let size = 70_000;
    let (edge, files, _) = trees(size);
    let root = theirs(edge.head().root);
    let reader = TileHashReader::new(size, root, &files);
    assert_eq!(tlog::tree_hash(size, &reader).unwrap(), root);
    for index in [0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999] {
        let path = tlog::prove_record(size, index, &reader).unwrap();
        let leaf = tlog::record_hash(&entry(index));
        tlog::check_record(&path, size, root, index, leaf).unwrap();
    }
}

#[test]
fn a_growing_tree_has_the_new_tiles_that_theirs_has() {
    let sizes = [
        0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000,
    ];
    for (place, from) in sizes.into_iter().enumerate() {
        for to in &sizes[place..] {
            let ours = grown(from, *to).filter(|tile| tile.kind() != Kind::Entries);
            let ours: Vec<String> = ours.map(|tile| tile.to_string()).collect();
            let theirs = TheirTile::new_tiles(HEIGHT, from, *to);
            let theirs: Vec<String> = theirs.iter().map(path).collect();
            assert_eq!(ours, theirs, "{from} {to}");
        }
    }
}

#[test]
fn checkpoints_read_there_as_here() {
    let (edge, ..) = trees(300);
    for (head, extensions) in [
        (Head::EMPTY, &[][..]),
        (edge.head(), &[]),
        (
            edge.head(),
            &[
                "clock 2026-11-22T08:03:29.123456Z synchronized 1500",
                "another",
            ],
        ),
    ] {
        let ours = Checkpoint::new(ORIGIN, head, extensions).unwrap();
        let text = ours.to_string();
        let read = tlog_tiles::checkpoint::Checkpoint::from_bytes(text.as_bytes()).unwrap();
        assert_eq!(read.origin(), ORIGIN);
        assert_eq!(read.size(), head.size);
        assert_eq!(*read.hash(), theirs(head.root));
        let lines: Vec<&str> = read.extension().lines().collect();
        assert_eq!(lines, extensions);
        let written = String::from_utf8(read.to_bytes()).unwrap();
        assert_eq!(Checkpoint::parse(&written), Ok(ours));
    }
}

#[test]
fn a_checkpoint_signed_here_verifies_there() {
    let (edge, ..) = trees(9);
    let checkpoint = Checkpoint::new(ORIGIN, edge.head(), &[]).unwrap();
    let signer = Signer::new(ORIGIN.parse().unwrap(), &[5; 32]).unwrap();
    let witness = Cosigner::new("example.com/w".parse().unwrap(), &[6; 32]).unwrap();
    let mut note = checkpoint.sign(&signer).unwrap();
    note.add(checkpoint.cosign(&witness, 1000).unwrap())
        .unwrap();

    let read = signed_note::Note::from_bytes(note.to_string().as_bytes()).unwrap();
    let key = StandardVerifier::new(&signer.verifier().to_string()).unwrap();
    let (known, unknown) = read
        .verify(&VerifierList::new(vec![Box::new(key)]))
        .unwrap();
    assert_eq!((known.len(), unknown.len()), (1, 1));
    assert_eq!(read.text(), checkpoint.to_string().as_bytes());
    assert_eq!(read.to_bytes(), note.to_string().as_bytes());
}

#[test]
fn a_cosignature_is_ed25519_over_the_message_of_the_specification() {
    let checkpoint = Checkpoint::new(ORIGIN, trees(9).0.head(), &["line"]).unwrap();
    let witness = Cosigner::new("example.com/w".parse().unwrap(), &[6; 32]).unwrap();
    let line = checkpoint
        .cosign(&witness, 1_679_315_147)
        .unwrap()
        .to_string();
    let bytes = STANDARD.decode(line.rsplit(' ').next().unwrap()).unwrap();
    assert_eq!(bytes[4..12], 1_679_315_147_u64.to_be_bytes());
    let message = format!("cosignature/v1\ntime 1679315147\n{checkpoint}");
    // They know plain keys only: the same public key as one.
    let plain = Signer::new("example.com/w".parse().unwrap(), &[6; 32]).unwrap();
    assert_eq!(plain.verifier().public(), witness.verifier().public());
    let key = StandardVerifier::new(&plain.verifier().to_string()).unwrap();
    assert!(key.verify(message.as_bytes(), &bytes[12..]));
    // The id is that of type 4.
    let typed = [&[4][..], witness.verifier().public()].concat();
    let id = signed_note::key_id("example.com/w", &typed);
    assert_eq!(bytes[..4], id.to_be_bytes());
}

#[test]
fn keys_and_notes_pass_both_ways() {
    let secret = Signer::write("example.com/k".parse().unwrap(), &[8; 32]).unwrap();
    let ours = Signer::read(&secret).unwrap();
    let their = StandardSigner::new(&secret).unwrap();
    assert_eq!(their.key_id().to_be_bytes(), ours.verifier().id().0);
    let text = "a text\n\nof three lines\n";
    let signed = Note::new(text.to_owned(), Signature::new(text, &ours)).unwrap();
    let mut note = signed_note::Note::new(text.as_bytes(), &[]).unwrap();
    note.add_sigs(&[&their]).unwrap();
    // Ed25519 is deterministic: the same note, byte for byte.
    assert_eq!(note.to_bytes(), signed.to_string().as_bytes());
    let read = Note::parse(&note.to_bytes()).unwrap();
    let keys: [Verifier; 1] = [ours.verifier().clone()];
    assert_eq!(read.verify(&keys).unwrap()[0].key(), &keys[0]);
}
