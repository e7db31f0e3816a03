//! Opens the data of a run at the peer that draws from it.

use ringtmp_data::{
    DataSpec, Dataset, IDX_BYTES_MAX, IDX_TEST, IDX_TRAIN, IdxError, IdxFiles, IdxNames,
};

/// Why the data cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    /// The server does not answer.
    #[error("{url} cannot be fetched: {reason}")]
    Fetch {
        /// What was asked for.
        url: String,
        /// Why.
        reason: String,
    },
    /// There is nothing there.
    #[error(
        "the server has no IDX files at {location}: start it with --data DIR, a folder with files such as t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz"
    )]
    Missing {
        /// Where it was looked for.
        location: String,
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
    /// The samples do not go into the model.
    #[error("the data's samples have the shape {data:?}, the model takes {model:?}")]
    Shape {
        /// Of the data.
        data: Vec<usize>,
        /// Of the model.
        model: Vec<usize>,
    },
    /// The labels do not go with the model.
    #[error("the data has {data} classes, the model tells {model} apart")]
    Classes {
        /// Of the data.
        data: usize,
        /// Of the model.
        model: usize,
    },
}

/// Opens `spec`; a location is a path at `server` (an http URL without a path).
pub(crate) async fn open(spec: &DataSpec, server: &str, seed: u64) -> Result<Dataset, DataError> {
    match spec {
        DataSpec::Digits => Ok(Dataset::digits(seed)),
        DataSpec::Idx { location } => {
            let location = format!("{server}{location}");
            let files = IdxFiles {
                train: pair(&location, &IDX_TRAIN).await?,
                test: pair(&location, &IDX_TEST).await?,
            };
            if files.train.is_none() && files.test.is_none() {
                return Err(DataError::Missing { location });
            }
            Ok(Dataset::idx(files)?)
        }
    }
}

async fn pair(location: &str, names: &IdxNames) -> Result<Option<(Vec<u8>, Vec<u8>)>, DataError> {
    let Some(images) = first(location, names.images).await? else {
        return Ok(None);
    };
    match first(location, names.labels).await? {
        Some(labels) => Ok(Some((images, labels))),
        None => Err(DataError::NoLabels {
            location: location.to_owned(),
            file: names.labels[0],
        }),
    }
}

/// The first of these files that is there.
async fn first(location: &str, names: &[&str]) -> Result<Option<Vec<u8>>, DataError> {
    for name in names {
        if let Some(bytes) = fetch(format!("{location}/{name}")).await? {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

async fn fetch(url: String) -> Result<Option<Vec<u8>>, DataError> {
    let failed = |reason: String| DataError::Fetch {
        url: url.clone(),
        reason,
    };
    let response = reqwest::get(&url)
        .await
        .map_err(|error| failed(error.to_string()))?;
    if response.status() == reqwest::StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let response = response
        .error_for_status()
        .map_err(|error| failed(error.to_string()))?;
    if response
        .content_length()
        .is_some_and(|length| length > IDX_BYTES_MAX)
    {
        return Err(failed(format!("it is longer than {IDX_BYTES_MAX} bytes")));
    }
    let bytes = response
        .bytes()
        .await
        .map_err(|error| failed(error.to_string()))?;
    Ok(Some(bytes.to_vec()))
}
