//! `ringtmp generate`: text from a trained model.

use super::trained::Trained;
use anyhow::Result;
use clap::Args;
use ringtmp_peer::{DataPlace, Executor, ExecutorChoice, Manner, Writer, open_data};

#[derive(Args, Debug)]
pub(crate) struct Generate {
    #[command(flatten)]
    trained: Trained,
    /// What to go on with, such as 17+25=
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// The most characters to write
    #[arg(long, value_name = "CHARACTERS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    length: u32,
    /// Where to stop before, such as $'\n'
    #[arg(long, value_name = "CHARACTER")]
    until: Option<char>,
    /// 0 always takes the likeliest character, 1 draws as often as the model expects it
    #[arg(long, default_value_t = 0.8)]
    temperature: f32,
    /// Makes what is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What computes: auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    executor: ExecutorChoice,
}

/// Writes the prompt and what the model goes on with.
pub(crate) async fn run(generate: Generate) -> Result<()> {
    let (run, weights) = generate.trained.read()?;
    let data = open_data(&run, &DataPlace::Disk).await?;
    let executor = Executor::open(generate.executor).await?;
    let writer = Writer::new(&run, data.vocabulary(), &weights, executor);
    let mut writer = Box::pin(writer).await?;
    let manner = Manner {
        temperature: generate.temperature,
        seed: generate.seed,
    };
    let prompt = &generate.prompt;
    let text = writer.go_on(prompt, generate.length as usize, generate.until, manner);
    outln!("{prompt}{}", text.await?);
    Ok(())
}
