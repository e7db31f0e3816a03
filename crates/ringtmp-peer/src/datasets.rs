//! Opens the data of a run at the peer that draws from it.

use crate::platform;
use crate::run_file::Run;
use ringtmp_data::{
    AdditionContext, CSV_BYTES_MAX, CsvError, DataSpec, Dataset, IDX_BYTES_MAX, IDX_TEST,
    IDX_TRAIN, IdxError, IdxFiles, IdxNames, ShareError, TEXT_BYTES_MAX, TextError, Vocabulary,
};
use std::fs::File;
use std::io::{ErrorKind, Read};

/// Where the locations of data lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataPlace {
    /// A location is a path at a server, of which this is the address
    /// ([`ServerAddress`](ringtmp_transport::ServerAddress)).
    Server(String),
    /// A location is a path on this device.
    Disk,
}

/// Why the data cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The server does not answer, or the disk does not give what is there.
    #[error("{address} cannot be read: {reason}")]
    Read {
        /// What was asked for.
        address: String,
        /// Why.
        reason: String,
    },
    /// There is nothing there.
    #[error(
        "the server has no IDX files at {location}: start it with --data DIR, a folder with files such as t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz"
    )]
    NotServed {
        /// Where it was looked for.
        location: String,
    },
    /// There is nothing there.
    #[error(
        "there are no IDX files in {location}: name the folder that holds, for example, t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz"
    )]
    NotInFolder {
        /// Where it was looked for.
        location: String,
    },
    /// There is nothing there.
    #[error(
        "the server has no file at {address}: start it with --data FILE, and let the run's data be text:/data/file or csv:/data/file"
    )]
    FileNotServed {
        /// Where it was looked for.
        address: String,
    },
    /// There is no such file.
    #[error("there is no file {address}: check the location of the data")]
    NoFile {
        /// Where it was looked for.
        address: String,
    },
    /// There are images, but nobody says what they show.
    #[error("there are images at {location}, but no labels: {file} is missing there")]
    NoLabels {
        /// Where it was looked for.
        location: String,
        /// What is missing.
        file: &'static str,
    },
    /// What is there is not IDX.
    #[error(transparent)]
    Idx(#[from] IdxError),
    /// What is there is no text that could be used.
    #[error(transparent)]
    Text(#[from] TextError),
    /// What is there is no table.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// The data cannot be divided among the devices.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// Sums do not go into the model.
    #[error(transparent)]
    Addition(#[from] AdditionContext),
    /// The samples do not go into the model.
    #[error("the data's samples have the shape {data:?}, the model takes {model:?}")]
    Shape {
        /// Of the data.
        data: Vec<usize>,
        /// Of the model.
        model: Vec<usize>,
    },
    /// Text for a model of numbers, or numbers for one of text.
    #[error("the data are {data}, the model takes {model}; choose other data, or another model")]
    Kind {
        /// Of the data.
        data: &'static str,
        /// Of the model.
        model: &'static str,
    },
    /// The labels do not go with the model.
    #[error(
        "the data has {data} classes, the model tells {model} apart; choose another model, or for a text a larger vocabulary in [model]"
    )]
    Classes {
        /// Of the data.
        data: usize,
        /// Of the model.
        model: usize,
    },
}

/// Opens a run's data and checks that it goes with the run's model. Texts are cut into windows of as many characters as the
/// model takes; a row of numbers may be what the model takes in more dimensions.
///
/// # Errors
///
/// What is missing or does not fit, and what to do about it.
pub async fn open_data(run: &Run, place: &DataPlace) -> Result<Dataset, DataError> {
    open(run, &run.data, place, None).await
}

/// The characters of a run's texts, of which its tokens are the places; none where its samples are no text.
///
/// # Errors
///
/// As [`open_data`].
pub(crate) async fn open_vocabulary(
    run: &Run,
    place: &DataPlace,
) -> Result<Option<Vocabulary>, DataError> {
    let data = open_data(run, place).await?;
    Ok(data.vocabulary().cloned())
}

/// Opens data that a device has on its own disk, and checks that they go with the run: a text with the run's own characters
/// (those of `runs`), everything else with its shape and classes.
///
/// # Errors
///
/// What is missing or does not fit, and what to do about it.
pub(crate) async fn open_own(
    run: &Run,
    spec: &DataSpec,
    runs: Option<&Dataset>,
) -> Result<Dataset, DataError> {
    let vocabulary = runs.and_then(Dataset::vocabulary);
    open(run, spec, &DataPlace::Disk, vocabulary).await
}

async fn open(
    run: &Run,
    spec: &DataSpec,
    place: &DataPlace,
    vocabulary: Option<&Vocabulary>,
) -> Result<Dataset, DataError> {
    let shape = run.input_shape();
    let numbers: usize = shape.iter().product();
    let dataset = match spec {
        DataSpec::Digits => Dataset::digits(run.file.seed),
        DataSpec::Addition => Dataset::addition(numbers)?,
        DataSpec::Idx { location } => Dataset::idx(idx_files(place, location).await?)?,
        DataSpec::Text { location } => {
            let text = file(place, location, TEXT_BYTES_MAX).await?;
            match vocabulary {
                Some(vocabulary) => Dataset::text_with(&text, numbers, vocabulary)?,
                None => Dataset::text(&text, numbers)?,
            }
        }
        DataSpec::Csv { location } => Dataset::csv(&file(place, location, CSV_BYTES_MAX).await?)?,
    };
    let kind = |is_text| if is_text { "text" } else { "numbers" };
    let model = kind(run.takes_text());
    let data = kind(dataset.vocabulary().is_some());
    if data != model {
        return Err(DataError::Kind { data, model });
    }
    let data = dataset.sample_shape();
    if data.iter().product::<usize>() != numbers {
        return Err(DataError::Shape {
            data: data.to_vec(),
            model: shape.to_vec(),
        });
    }
    let (data, model) = (dataset.classes(), run.classes());
    if data > model {
        return Err(DataError::Classes { data, model });
    }
    Ok(dataset)
}

async fn idx_files(place: &DataPlace, location: &str) -> Result<IdxFiles, DataError> {
    let files = IdxFiles {
        train: pair(place, location, &IDX_TRAIN).await?,
        test: pair(place, location, &IDX_TEST).await?,
    };
    if files.train.is_some() || files.test.is_some() {
        return Ok(files);
    }
    let location = place.address(location);
    Err(match place {
        DataPlace::Server(_) => DataError::NotServed { location },
        DataPlace::Disk => DataError::NotInFolder { location },
    })
}

async fn pair(
    place: &DataPlace,
    location: &str,
    names: &IdxNames,
) -> Result<Option<(Vec<u8>, Vec<u8>)>, DataError> {
    let Some(images) = first(place, location, names.images).await? else {
        return Ok(None);
    };
    match first(place, location, names.labels).await? {
        Some(labels) => Ok(Some((images, labels))),
        None => Err(DataError::NoLabels {
            location: place.address(location),
            file: names.labels[0],
        }),
    }
}

/// The first of these files that is there.
async fn first(
    place: &DataPlace,
    location: &str,
    names: &[&str],
) -> Result<Option<Vec<u8>>, DataError> {
    for name in names {
        let address = place.address(&format!("{location}/{name}"));
        if let Some(bytes) = place.read(address, IDX_BYTES_MAX).await? {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

async fn file(place: &DataPlace, location: &str, bytes_max: u64) -> Result<Vec<u8>, DataError> {
    let address = place.address(location);
    let bytes = place.read(address.clone(), bytes_max).await?;
    bytes.ok_or(match place {
        DataPlace::Server(_) => DataError::FileNotServed { address },
        DataPlace::Disk => DataError::NoFile { address },
    })
}

impl DataPlace {
    fn address(&self, location: &str) -> String {
        match self {
            Self::Server(server) => {
                // What follows a # says how to reach it.
                let (origin, _) = server.split_once('#').unwrap_or((server, ""));
                format!("{origin}{location}")
            }
            Self::Disk => location.to_owned(),
        }
    }

    /// A file of at most so many bytes; none if there is no such file.
    async fn read(&self, address: String, bytes_max: u64) -> Result<Option<Vec<u8>>, DataError> {
        let read = match self {
            Self::Server(server) => match platform::fetch(server, &address, bytes_max).await {
                Some(fetched) => fetched,
                None => fetch(&address, bytes_max).await,
            },
            Self::Disk => load(&address, bytes_max),
        };
        read.map_err(|reason| DataError::Read { address, reason })
    }
}

async fn fetch(url: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, String> {
    let response = reqwest::get(url).await.map_err(|error| error.to_string())?;
    if response.status() == reqwest::StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let response = response
        .error_for_status()
        .map_err(|error| error.to_string())?;
    if response
        .content_length()
        .is_some_and(|length| length > bytes_max)
    {
        return Err(too_long(bytes_max));
    }
    let bytes = response.bytes().await.map_err(|error| error.to_string())?;
    Ok(Some(bytes.to_vec()))
}

/// In a browser there are no files, which the system says by itself.
fn load(path: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_long(bytes_max));
    }
    Ok(Some(bytes))
}

fn too_long(bytes_max: u64) -> String {
    format!("it is longer than {bytes_max} bytes")
}
