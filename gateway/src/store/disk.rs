//! Rows in a redb database.

use crate::im::ledger::Change;
use crate::im::records::{Damaged, Rows, Table, Visit};
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageBackend,
    TableDefinition, TableError,
};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The database's file in the data folder.
const FILE: &str = "gateway.redb";
/// Version of the rows.
const FORMAT: u64 = 1;
const CACHE_BYTES: usize = 64 << 20;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";
/// How often a gateway was started on these data.
const META_STARTS: &str = "starts";

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder.
    #[error("cannot use {0} as data folder: {1}")]
    Folder(PathBuf, #[source] io::Error),
    /// Another process has it.
    #[error("{0} is in use by another gateway: end that one, or choose another folder with --data-dir")]
    Locked(PathBuf),
    /// Not a store, or damaged.
    #[error("{0} is no store of this gateway, or is damaged: {1}")]
    Unreadable(PathBuf, #[source] DiskError),
    /// Written by another version.
    #[error(
        "{0} has format {1}, this gateway reads and writes format {FORMAT}: use the version that wrote it"
    )]
    Format(PathBuf, u64),
    /// What was read makes no sense.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Why rows could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The database.
    #[error(transparent)]
    Database(Box<redb::Error>),
    /// A row.
    #[error(transparent)]
    Row(#[from] Damaged),
}

impl<E: Into<redb::Error>> From<E> for DiskError {
    fn from(error: E) -> DiskError {
        DiskError::Database(Box::new(error.into()))
    }
}

/// An open database. No other process can open it meanwhile, and a process that dies gives it up.
#[derive(Debug)]
pub struct Disk {
    database: Database,
}

impl Disk {
    /// Opens or makes the database in `folder`; gives how often it was opened before.
    pub(super) fn open(folder: &Path) -> Result<(Disk, u32), OpenError> {
        let path = folder.join(FILE);
        let in_folder = |error| OpenError::Folder(folder.to_owned(), error);
        std::fs::create_dir_all(folder).map_err(in_folder)?;
        let database = match Builder::new().set_cache_size(CACHE_BYTES).create(&path) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(OpenError::Locked(folder.to_owned())),
            Err(error) => return Err(OpenError::Unreadable(path, error.into())),
        };
        let disk = Disk { database };
        let starts = disk.begin(&path)?;
        // The file's entry in its folder must be as durable as what is written into it.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(in_folder)?;
        Ok((disk, starts))
    }

    /// Opens or makes the database on `backend`, such as a simulated disk; otherwise as in a folder.
    pub fn on(backend: impl StorageBackend) -> Result<(Disk, u32), OpenError> {
        let path = Path::new(FILE);
        let opened = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend);
        let database = opened.map_err(|error| OpenError::Unreadable(path.to_owned(), error.into()))?;
        let disk = Disk { database };
        let starts = disk.begin(path)?;
        Ok((disk, starts))
    }

    /// Checks whose database it is, and counts the start.
    fn begin(&self, path: &Path) -> Result<u32, OpenError> {
        let unreadable = |error: DiskError| OpenError::Unreadable(path.to_owned(), error);
        let (format, starts) = self.meta().map_err(unreadable)?;
        match format {
            Some(FORMAT) => {}
            Some(other) => return Err(OpenError::Format(path.to_owned(), other)),
            None if self.has_tables().map_err(unreadable)? => {
                return Err(OpenError::Format(path.to_owned(), 0));
            }
            None => {}
        }
        let write = || -> Result<(), DiskError> {
            let write = self.database.begin_write()?;
            let mut meta = write.open_table(META)?;
            meta.insert(META_FORMAT, FORMAT)?;
            meta.insert(META_STARTS, starts + 1)?;
            drop(meta);
            for table in Table::ALL {
                write.open_table(definition(table))?;
            }
            Ok(write.commit()?)
        };
        write()?;
        Ok(u32::try_from(starts).unwrap_or(u32::MAX))
    }

    fn meta(&self) -> Result<(Option<u64>, u64), DiskError> {
        let read = self.database.begin_read()?;
        let meta = match read.open_table(META) {
            Ok(meta) => meta,
            Err(TableError::TableDoesNotExist(_)) => return Ok((None, 0)),
            Err(error) => return Err(error.into()),
        };
        let get =
            |key: &str| -> Result<Option<u64>, DiskError> { Ok(meta.get(key)?.map(|value| value.value())) };
        Ok((get(META_FORMAT)?, get(META_STARTS)?.unwrap_or(0)))
    }

    fn has_tables(&self) -> Result<bool, DiskError> {
        Ok(self.database.begin_read()?.list_tables()?.next().is_some())
    }

    /// Writes all changes, in order, or none; durable when it returns.
    pub(super) fn commit(&mut self, changes: &[Change]) -> Result<(), DiskError> {
        let write = self.database.begin_write()?;
        {
            let mut tables = Vec::with_capacity(Table::ALL.len());
            for table in Table::ALL {
                tables.push(write.open_table(definition(table))?);
            }
            for change in changes {
                match change {
                    Change::Put(row) => {
                        tables[row.table as usize].insert(&row.key[..], &row.value[..])?;
                    }
                    Change::Remove(table, key) => {
                        tables[*table as usize].remove(&key[..])?;
                    }
                    Change::RemoveRange(table, from, to) => {
                        tables[*table as usize].retain_in(&from[..]..&to[..], |_, _| false)?;
                    }
                }
            }
        }
        Ok(write.commit()?)
    }
}

impl Rows for Disk {
    type Error = DiskError;

    fn each(&self, table: Table, visit: Visit<'_>) -> Result<(), DiskError> {
        let rows = self.database.begin_read()?.open_table(definition(table))?;
        for entry in rows.iter()? {
            let (key, value) = entry?;
            visit(key.value(), value.value())?;
        }
        Ok(())
    }
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(match table {
        Table::Messages => "messages",
        Table::Settled => "settled",
        Table::SentIds => "sent_ids",
        Table::Devices => "devices",
        Table::Members => "members",
    })
}
