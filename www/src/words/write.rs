//! Texts of the card on which the network writes on from a start, and of the model as a file.

#![expect(
    missing_docs,
    reason = "the name of a text says where it stands, the text says the rest"
)]

use super::{Text, say, texts};

texts! {
    MODEL_FETCH:
        "Download the model",
        "Das Modell herunterladen";
    MODEL_SAVE:
        "Save the file",
        "Die Datei speichern";
    MODEL_BAR:
        "How much of the model is here",
        "Wie viel vom Modell da ist";
    MODEL_WAITS:
        "The model comes as soon as a version of it lies with two devices.",
        "Das Modell kommt, sobald eine Fassung davon bei zwei Geräten liegt.";
    MODEL_WAITS_WHOLE:
        "The model comes after the task that this device is at.",
        "Das Modell kommt nach der Aufgabe, an der dieses Gerät gerade ist.";
    WRITE_TITLE:
        "Let the network write",
        "Lass das Netz schreiben";
    WRITE_SUM_TITLE:
        "Ask the network a sum",
        "Frag das Netz nach einer Summe";
    WRITE_HINT:
        "The start goes through all layers of the ring, and the next character comes back, as likely as the network expects it now. Each takes one turn of the ring.",
        "Der Anfang geht durch alle Schichten des Rings, und zurück kommt das nächste Zeichen, so wahrscheinlich, wie es das Netz gerade erwartet. Jedes braucht eine Runde durch den Ring.";
    WRITE_SUM_HINT:
        "The sum goes through all layers of the ring, and one digit comes back each time round. It is only asked, not trained on.",
        "Die Summe geht durch alle Schichten des Rings, und je Runde kommt eine Ziffer zurück. Es wird nur gefragt, nicht damit trainiert.";
    WRITE_START:
        "Start",
        "Anfang";
    WRITE_SUM:
        "Sum of two two-digit numbers",
        "Summe zweier zweistelliger Zahlen";
    WRITE_USUAL:
        "The ",
        "The ";
    WRITE_USUAL_SUM:
        "17+25=",
        "17+25=";
    WRITE_MANNER:
        "How it chooses",
        "Wie es wählt";
    WRITE_LIKELIEST:
        "always the likeliest",
        "immer das Wahrscheinlichste";
    WRITE_CAREFUL:
        "careful",
        "vorsichtig";
    WRITE_FREE:
        "free",
        "frei";
    WRITE_AGAIN:
        "Again and again, as it learns",
        "Immer wieder, während es lernt";
    WRITE_GO:
        "Write",
        "Schreiben";
    WRITE_ASK:
        "Ask",
        "Fragen";
    WRITE_STOP:
        "Stop",
        "Anhalten";
    WRITE_BEFORE_LIST:
        "What it wrote, the newest first",
        "Was es geschrieben hat, das Neueste zuerst";
    WRITE_OPENING:
        "Looks up which characters the text has.",
        "Schaut nach, welche Zeichen der Text hat.";
    WRITE_ON_ITS_WAY:
        "On its way round the ring.",
        "Unterwegs durch den Ring.";
    WRITE_WRITES:
        "Writes, a character each time round the ring.",
        "Schreibt, je Runde durch den Ring ein Zeichen.";
    WRITE_RESTS:
        "Stopped before the first character came.",
        "Angehalten, ehe das erste Zeichen kam.";
    WRITE_RIGHT:
        "right",
        "richtig";
    WRITE_WRONG:
        "wrong",
        "falsch";
    WRITE_EMPTY:
        "Type a start of at least one character.",
        "Tippe einen Anfang von mindestens einem Zeichen.";
    WRITE_NO_TEXT:
        "This run's model takes no text.",
        "Das Modell dieses Laufs nimmt keinen Text.";
    WRITE_WATCHING:
        "This page only watches. A device that takes part can type a start for the network to write on from.",
        "Diese Seite schaut nur zu. Ein Gerät, das mitmacht, kann einen Anfang tippen, den das Netz weiterschreibt.";
    WRITE_BEFORE:
        "Once training runs, type a start here and see what the network writes.",
        "Sobald trainiert wird, tippe hier einen Anfang und sieh, was das Netz schreibt.";
    WRITE_PAUSED:
        "Training is paused, and nothing goes round the ring. It writes on when training goes on.",
        "Das Training hat Pause, und nichts geht durch den Ring. Es schreibt weiter, wenn es weitergeht.";
    WRITE_AFTER:
        "The run is over, and the network answers no more. Train again to ask it more.",
        "Der Lauf ist vorbei, und das Netz antwortet nicht mehr. Trainiere noch einmal, um es mehr zu fragen.";
    WRITE_NO_STAGE:
        "This device holds no layers now, so no question of it can reach the ring.",
        "Dieses Gerät hält gerade keine Schichten, also erreicht keine Frage von ihm den Ring.";
    ASK_NO_MODEL:
        "This device has no copy of the model now, so nothing can be asked here.",
        "Dieses Gerät hat gerade keine Kopie des Modells, also lässt sich hier nichts fragen.";
    WRITE_WHOLE_HINT:
        "This device has a whole copy of the model, and asks it between two steps: the next character, as likely as the network expects it now.",
        "Dieses Gerät hat eine ganze Kopie des Modells und fragt sie zwischen zwei Schritten: nach dem nächsten Zeichen, so wahrscheinlich, wie es das Netz gerade erwartet.";
    WRITE_SUM_WHOLE_HINT:
        "This device has a whole copy of the model, and asks it between two steps, digit by digit. It is only asked, not trained on.",
        "Dieses Gerät hat eine ganze Kopie des Modells und fragt sie zwischen zwei Schritten, Ziffer für Ziffer. Es wird nur gefragt, nicht damit trainiert.";
}

pub fn model_comes(steps: &str, received: &str, of: &str) -> String {
    say!(
        "The model after {steps} steps comes: {received} of {of}.",
        "Das Modell nach {steps} Schritten kommt: {received} von {of}."
    )
}

pub fn model_here(steps: &str) -> String {
    say!(
        "The model after {steps} steps is here, all of its layers in one safetensors file.",
        "Das Modell nach {steps} Schritten ist da, alle Schichten in einer safetensors-Datei."
    )
}

pub fn model_refused(needed: &str, given: &str) -> String {
    say!(
        "Fetching the model takes {needed} of memory, and this device gives {given}.",
        "Das Modell zu holen braucht {needed} Speicher, und dieses Gerät gibt {given}."
    )
}

pub fn model_lost(reason: &str) -> String {
    say!(
        "The model did not come: {reason}.",
        "Das Modell kam nicht: {reason}."
    )
}

pub fn write_done(steps: &str, text: &str) -> String {
    say!(
        "After {steps} steps it writes: {text}",
        "Nach {steps} Schritten schreibt es: {text}"
    )
}

pub fn write_again_after(step: &str) -> String {
    say!("Again after {step} steps.", "Wieder nach {step} Schritten.")
}

pub fn write_row(steps: &str) -> String {
    say!("after {steps}", "nach {steps}")
}

pub fn write_too_long(most: usize) -> String {
    say!(
        "The start is too long: {most} characters at most.",
        "Der Anfang ist zu lang: höchstens {most} Zeichen."
    )
}

pub fn write_stranger(character: &str) -> String {
    say!(
        "The network has never seen {character}: the text that it learns from does not contain it.",
        "{character} hat das Netz nie gesehen: Der Text, aus dem es lernt, enthält es nicht."
    )
}

pub fn write_too_many(characters: &str) -> String {
    say!(
        "The model tells {characters} characters apart, more than an answer round the ring holds.",
        "Das Modell unterscheidet {characters} Zeichen, mehr als eine Antwort durch den Ring fasst."
    )
}

pub fn write_no_data(reason: &str) -> String {
    say!(
        "The run's text cannot be read here: {reason}.",
        "Der Text des Laufs kann hier nicht gelesen werden: {reason}."
    )
}
