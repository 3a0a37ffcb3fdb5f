//! Commands about volumes, files and their access lists.

use super::group::Listed;
use super::values::{FileAddress, NodeName, WhoName, etag};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use terms::{Digest, Rights, VolumeName};

/// Volumes at this node.
#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// Make a volume whose home is this node
    #[command(after_help = "Example:\n  webos volume create data.lab.example --owner user/alice")]
    Create {
        /// NAME.REALM
        volume: VolumeName,
        /// Who gets all rights on it; this node itself if nobody is named
        #[arg(long, value_name = "WHO")]
        owner: Option<WhoName>,
    },
    /// List the volumes whose home is this node, and those that lie here and have it elsewhere
    #[command(after_help = "Example:\n  webos volume list")]
    List,
    /// Show a volume: its home, its epoch, its key
    #[command(after_help = "Example:\n  webos volume show site.demo.localhost")]
    Show {
        /// NAME.REALM
        volume: VolumeName,
    },
    /// Check that a volume is whole: every file, list and block
    #[command(after_help = "Example:\n  webos volume fsck data.lab.example")]
    Fsck {
        /// NAME.REALM
        volume: VolumeName,
    },
    /// Remove replaced versions past their time, and blocks that no file has
    #[command(after_help = "Example:\n  webos volume gc data.lab.example")]
    Gc {
        /// NAME.REALM
        volume: VolumeName,
    },
    /// Move a volume to another node of its realm, which is its home from then on
    #[command(after_help = "\
Examples:
  webos volume move data.lab.example n2
  webos volume move data.lab.example n2@n2.lab.example:4433

For who may administer all of the volume (the right a on it) and owns the new node. The old home serves while it is
copied; nobody does while the rest goes over, at most 20 seconds. If it breaks off, move it again.")]
    Move {
        /// NAME.REALM
        volume: VolumeName,
        /// Its new home: NAME or NAME@HOST:PORT
        node: NodeName,
    },
    /// Write a volume into one file, as it is at one moment; its home may run
    #[command(after_help = "\
Examples:
  webos volume dump data.lab.example data.dump
  webos volume dump data.lab.example - | ssh backup 'cat > data.dump'")]
    Dump {
        /// NAME.REALM
        volume: VolumeName,
        /// A new file, or - for standard output
        file: PathBuf,
    },
    /// Make a volume of a dump, in a new epoch, with this node for its home
    #[command(after_help = "Example:\n  webos volume restore data.dump data.lab.example")]
    Restore {
        /// The dump, or - for standard input
        file: PathBuf,
        /// NAME.REALM
        volume: VolumeName,
        /// The highest epoch in which the volume was seen, if the realm's name server does not know
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        above: u64,
    },
}

/// On whose behalf.
#[derive(Debug, Clone, Default, Args)]
pub struct Under {
    /// Ask for somebody else, under this transfer certificate of the purse: the beginning of its id
    #[arg(long, value_name = "ID")]
    pub under: Option<String>,
}

/// From where to read.
#[derive(Debug, Clone, Default, Args)]
pub struct Source {
    /// Read through this node, a relay of the volume, instead of the home: NAME or NAME@HOST:PORT
    #[arg(long, value_name = "NODE")]
    pub from: Option<NodeName>,
}

/// List a folder
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos ls site.demo.localhost/www
  webos ls -l site.demo.localhost/www/pictures")]
pub struct Ls {
    /// NAME.REALM/path, or a node's URL
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    /// Sizes and times too
    #[arg(short, long)]
    pub long: bool,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub lent: Under,
}

/// Show size, version, ETag and time of a file or folder
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos stat site.demo.localhost/www/index.html")]
pub struct Stat {
    /// NAME.REALM/path, or a node's URL
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub lent: Under,
}

/// Print a file
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos cat site.demo.localhost/www/index.html
  webos cat site.demo.localhost/www/index.html --via n2   # n2 reads it for you")]
pub struct Cat {
    /// NAME.REALM/path, or a node's URL
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    #[command(flatten)]
    pub source: Source,
    /// Let this node (NAME or NAME@HOST:PORT) read it at the home for you, under a transfer certificate for just this
    /// file
    #[arg(long, value_name = "NODE", conflicts_with = "from")]
    pub via: Option<NodeName>,
    #[command(flatten)]
    pub lent: Under,
}

/// Store a file, or a folder with -r
///
/// With -r the content of FILE comes to lie directly below PATH; end PATH with `/` to get it below PATH/FILE.
/// Links that lead out of the folder and special files are left out, and named.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos put notes.txt site.demo.localhost/www/
  webos put -r public site.demo.localhost/www/new
  webos put - site.demo.localhost/www/log < log             # from standard input")]
pub struct Put {
    /// A file or folder here, or `-` for standard input
    pub file: PathBuf,
    /// NAME.REALM/path; with `/` at the end: into this folder
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    /// A folder with all that is below it
    #[arg(short, long)]
    pub recursive: bool,
    /// Make missing folders above it
    #[arg(short, long)]
    pub parents: bool,
    /// Only if the file still has this ETag
    #[arg(long, value_name = "ETAG", value_parser = etag, conflicts_with = "recursive")]
    pub if_match: Option<Digest>,
    /// Only if there is no such file yet
    #[arg(long, conflicts_with = "if_match")]
    pub if_absent: bool,
    #[command(flatten)]
    pub lent: Under,
}

/// Fetch a file, or a folder with -r
///
/// Every block is checked against what the volume's home signed before it is kept.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos get site.demo.localhost/www/index.html
  webos get -r site.demo.localhost/www copy
  webos get --via n2 site.demo.localhost/www/index.html page.html   # n2 reads it for you
  webos get --from r1 site.demo.localhost/www/index.html page.html  # from a relay's cache")]
pub struct Get {
    /// NAME.REALM/path, or a node's URL
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    /// Where to put it; its own name if not said; `-` for standard output
    pub file: Option<PathBuf>,
    /// A folder with all that is below it
    #[arg(short, long)]
    pub recursive: bool,
    #[command(flatten)]
    pub source: Source,
    /// Let this node (NAME or NAME@HOST:PORT) read it at the home for you, under a transfer certificate for just this
    /// file
    #[arg(long, value_name = "NODE", conflicts_with_all = ["from", "recursive"])]
    pub via: Option<NodeName>,
    #[command(flatten)]
    pub lent: Under,
}

/// Remove a file, a link or an empty folder; with -r a folder and all below it
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos rm site.demo.localhost/www/old.html
  webos rm -r site.demo.localhost/www/drafts")]
pub struct Rm {
    /// NAME.REALM/path
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    /// A folder with all that is below it
    #[arg(short, long)]
    pub recursive: bool,
    /// Only if the file still has this ETag
    #[arg(long, value_name = "ETAG", value_parser = etag, conflicts_with = "recursive")]
    pub if_match: Option<Digest>,
    #[command(flatten)]
    pub lent: Under,
}

/// Make a folder
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos mkdir site.demo.localhost/www/pictures
  webos mkdir -p site.demo.localhost/www/pictures/2026/june")]
pub struct Mkdir {
    /// NAME.REALM/path
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    /// Make missing folders above it; one that exists is no error
    #[arg(short, long)]
    pub parents: bool,
    #[command(flatten)]
    pub lent: Under,
}

/// Move or rename a file or folder within its volume
///
/// Access lists go along. It takes the rights r and m on all that is moved and w where it goes: a move shows nobody what
/// its maker could not have shown by copying.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos mv site.demo.localhost/www/draft.html site.demo.localhost/www/page.html
  webos mv site.demo.localhost/www/old site.demo.localhost/archive/      # into the folder")]
pub struct Mv {
    /// NAME.REALM/path
    #[arg(value_name = "FROM")]
    pub from: FileAddress,
    /// NAME.REALM/path; with `/` at the end: into this folder
    #[arg(value_name = "TO")]
    pub to: FileAddress,
    /// Do not replace what is there
    #[arg(short, long)]
    pub no_clobber: bool,
    #[command(flatten)]
    pub lent: Under,
}

/// Give a file another name, or make a symbolic link with -s
///
/// A symbolic link leads to another path of its own volume: TARGET is a path relative to the folder that holds the link,
/// or one from the volume's root if it begins with `/`. Readers follow it, and need the right r on the link too. A further
/// name shares content and access list, and takes the rights r, m and a on the file.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos ln site.demo.localhost/www/a.html site.demo.localhost/www/b.html
  webos ln -s ../www/a.html site.demo.localhost/other/a.html")]
pub struct Ln {
    /// NAME.REALM/path of the file; with -s what the link says
    pub target: String,
    /// NAME.REALM/path of the new name
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    /// Make a symbolic link
    #[arg(short, long)]
    pub symbolic: bool,
    #[command(flatten)]
    pub lent: Under,
}

/// List everything below a folder
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos find site.demo.localhost/www
  webos find site.demo.localhost/www --name '*.html' --type f")]
pub struct Find {
    /// NAME.REALM/path
    #[arg(value_name = "PATH")]
    pub place: FileAddress,
    /// Only names of this form: `*` stands for any letters, `?` for one
    #[arg(long, value_name = "FORM")]
    pub name: Option<String>,
    /// Only files (f), folders (d) or links (l)
    #[arg(long = "type", value_name = "KIND")]
    pub kind: Option<Kind>,
    #[command(flatten)]
    pub lent: Under,
}

/// What `find` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Files.
    F,
    /// Folders.
    D,
    /// Symbolic links.
    L,
}

/// Access lists.
#[derive(Debug, Subcommand)]
pub enum AclCommand {
    /// Show who may do what
    #[command(
        after_help = "Examples:\n  webos acl show site.demo.localhost/www/index.html\n  webos acl show group/readers.lab.example"
    )]
    Show {
        /// NAME.REALM/path, or group/NAME.REALM
        #[arg(value_name = "PATH")]
        place: Listed,
    },
    /// Give rights
    #[command(
        after_help = "Examples:\n  webos acl grant user/bob r site.demo.localhost/www/drafts\n  webos acl grant server/r1 r+relay site.demo.localhost -r\n\nRights: r read, w write, m modify and remove, x execute, a administer, relay keep all of it and serve others."
    )]
    Grant(AclEdit),
    /// Take rights away
    #[command(after_help = "Example:\n  webos acl revoke user/bob r site.demo.localhost/www/drafts")]
    Revoke(AclEdit),
    Copy(AclCopy),
}

/// One change of an access list.
#[derive(Debug, Clone, Args)]
pub struct AclEdit {
    /// anyone, authenticated, user/NAME, server/NAME, group/NAME, or a whole spiffe:// id
    pub who: WhoName,
    /// Letters of r w m x a, and +relay
    pub rights: Rights,
    /// NAME.REALM/path, or group/NAME.REALM
    #[arg(value_name = "PATH")]
    pub place: Listed,
    /// Everything below it too, as one operation
    #[arg(short, long)]
    pub recursive: bool,
    /// Do not ask before rights go to anyone
    #[arg(short, long)]
    pub yes: bool,
}

/// Give a file or folder the same access list as another
///
/// The list takes the place of the one that was there. What is changed later at one of both leaves the other alone.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  webos acl copy site.demo.localhost/www site.demo.localhost/drafts
  webos acl copy -r site.demo.localhost/www site.demo.localhost/drafts")]
pub struct AclCopy {
    /// Whose list: NAME.REALM/path
    #[arg(value_name = "FROM")]
    pub from: FileAddress,
    /// What gets it: NAME.REALM/path
    #[arg(value_name = "TO")]
    pub to: FileAddress,
    /// Everything below it too, as one operation
    #[arg(short, long)]
    pub recursive: bool,
    /// Do not ask before rights go to anyone
    #[arg(short, long)]
    pub yes: bool,
}
