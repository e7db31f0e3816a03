//! Texts of the first page, of what is pressed and what is shared, each in English and German.

#![expect(
    missing_docs,
    reason = "the name of a text says where it stands, the text says the rest"
)]

use super::{Text, texts};

texts! {
    PRODUCT:
        "RingTMP",
        "RingTMP";
    PURPOSE:
        "Train one neural network across the devices around you.",
        "Trainiere ein neuronales Netz auf den Geräten um dich herum.";
    PURPOSE_DETAIL:
        "Every device opens one link. Its browser tab holds a few of the layers, computes them, and hands the result to its neighbour, until the ring closes. The devices talk to each other directly: the server only introduces them.",
        "Jedes Gerät öffnet einen Link. Sein Browser-Tab hält einige der Schichten, rechnet sie und gibt das Ergebnis an seinen Nachbarn weiter, bis der Ring sich schließt. Die Geräte sprechen direkt miteinander: Der Server macht sie nur bekannt.";
    FORM_TITLE:
        "Open a room",
        "Einen Raum öffnen";
    FORM_MODEL:
        "Model",
        "Modell";
    FORM_DATA:
        "Data",
        "Daten";
    FORM_DATA_USUAL:
        "drawn digits; for a transformer sums",
        "gezeichnete Ziffern; für einen Transformer Summen";
    FORM_SOURCE:
        "Samples to train on",
        "Beispiele zum Lernen";
    FORM_SOURCE_ONE:
        "all from the first device",
        "alle vom ersten Gerät";
    FORM_SOURCE_EVERY:
        "every device its own",
        "von jedem Gerät die eigenen";
    FORM_STEPS:
        "Steps",
        "Schritte";
    FORM_PEERS:
        "Devices to wait for",
        "Auf so viele Geräte warten";
    FORM_PEERS_HINT:
        "Training starts by itself when they are there, this one included. With 0 it waits for Start.",
        "Sind sie da, beginnt das Training von selbst; dieses zählt mit. Bei 0 wartet es auf Start.";
    FORM_EXECUTOR:
        "This device computes on",
        "Dieses Gerät rechnet auf";
    FORM_EXECUTOR_AUTO:
        "the best it has",
        "dem Besten, was es hat";
    FORM_EXECUTOR_GPU:
        "its GPU",
        "seiner GPU";
    FORM_EXECUTOR_CPU:
        "its CPU",
        "seiner CPU";
    CODE_TITLE:
        "Join with a code",
        "Mit einem Code mitmachen";
    CODE_LABEL:
        "Code of the room",
        "Code des Raums";
    CODE_HINT:
        "Six letters and digits, which the room shows. Whoever opened it is asked whether this device may take part.",
        "Sechs Buchstaben und Ziffern, die der Raum zeigt. Wer ihn geöffnet hat, wird gefragt, ob dieses Gerät mitmachen darf.";
    CODE_ASK:
        "Ask to join",
        "Um Einlass bitten";
    CODE_UNREADABLE:
        "A code has six characters. None of them is I, L, O, U, 0 or 1.",
        "Ein Code hat sechs Zeichen. Keines davon ist I, L, O, U, 0 oder 1.";
    ASKING_DIGITS:
        "The room's host decides. Its screen has to show the same six digits:",
        "Die Person, die den Raum geöffnet hat, entscheidet. Ihr Bildschirm muss dieselben sechs Ziffern zeigen:";
    ASKS_HINT:
        "Allow it only if its screen shows the same six digits: otherwise somebody stands between.",
        "Erlaube es nur, wenn sein Bildschirm dieselben sechs Ziffern zeigt: Sonst steht jemand dazwischen.";
    BUTTON_ALLOW:
        "Allow",
        "Erlauben";
    BUTTON_DENY:
        "Deny",
        "Ablehnen";
    DENIED:
        "The room's host did not let this device in.",
        "Dieses Gerät wurde nicht in den Raum gelassen.";
    NO_ANSWER:
        "Nobody has decided for five minutes whether this device is let in.",
        "Fünf Minuten lang hat niemand entschieden, ob dieses Gerät in den Raum darf.";
    NOBODY_TO_ASK:
        "Whoever opened the room is not there to be asked. Open its whole link, or scan its code.",
        "Wer den Raum geöffnet hat, ist nicht da und kann nicht gefragt werden. Öffne seinen ganzen Link oder scanne seinen Code.";
    FORM_ACCESS:
        "Who may take part",
        "Wer darf mitmachen";
    FORM_ACCESS_SECRET:
        "who gets the link",
        "wer den Link bekommt";
    FORM_ACCESS_OPEN:
        "everybody who hears the room's code",
        "alle, die den Code des Raums hören";
    ROOM_OPEN:
        "This room is open: it has no secret, and whoever hears its code may take part.",
        "Dieser Raum ist offen: Er hat kein Geheimnis, und wer seinen Code hört, darf mitmachen.";
    ROOM_WATCHED:
        "This device watches. To take part, open the whole link, or scan its code, from a device that is in the room.",
        "Dieses Gerät schaut zu. Um mitzumachen, öffne den ganzen Link oder scanne den Code von einem Gerät, das im Raum ist.";
    SHARE_SHORT:
        "Without a camera, type this code on the first page. You are asked then whether the device may take part.",
        "Ohne Kamera: diesen Code auf der ersten Seite eintippen. Du wirst dann gefragt, ob das Gerät mitmachen darf.";
    SHARE_WATCH:
        "Whoever opens this link may watch.",
        "Wer diesen Link öffnet, darf zuschauen.";
    FORM_CREATE:
        "Create room",
        "Raum öffnen";
    KEPT_TITLE:
        "Kept on this device",
        "Auf diesem Gerät aufgehoben";
    KEPT_DETAIL:
        "Runs that can be gone on with, though all their devices were closed. Open the new room on the others too: each brings the layers that it kept.",
        "Läufe, die weitergehen können, obwohl alle ihre Geräte geschlossen wurden. Öffne den neuen Raum auch auf den anderen: Jedes bringt die Schichten mit, die es aufgehoben hat.";
    KEPT_GO_ON:
        "Go on",
        "Weitermachen";
    KEPT_FORGET:
        "Forget",
        "Vergessen";
    BUTTON_START:
        "Start now",
        "Jetzt starten";
    BUTTON_START_AGAIN:
        "Train again",
        "Noch einmal trainieren";
    BUTTON_BEGIN_ANEW:
        "Begin anew",
        "Von vorn beginnen";
    BUTTON_PAUSE:
        "Pause",
        "Pause";
    BUTTON_RESUME:
        "Resume",
        "Weiter";
    BUTTON_STOP:
        "Stop",
        "Beenden";
    BUTTON_LEAVE:
        "Leave",
        "Verlassen";
    BUTTON_LEAVE_NOW:
        "Leave at once",
        "Sofort verlassen";
    BUTTON_HAND_ON:
        "Hand my layers on",
        "Meine Schichten weitergeben";
    BUTTON_PAUSE_ALL:
        "Pause for all",
        "Pause für alle";
    BUTTON_SAVE:
        "Save my layers",
        "Meine Schichten speichern";
    BUTTON_RELOAD:
        "Try again",
        "Noch einmal versuchen";
    PREFLIGHT_TITLE:
        "Before you join",
        "Bevor du mitmachst";
    PREFLIGHT_SOURCE_ONE:
        "All samples come from the first device of the ring; this one computes on what they become on their way.",
        "Alle Beispiele kommen vom ersten Gerät des Rings; dieses rechnet mit dem, was unterwegs aus ihnen wird.";
    PREFLIGHT_SOURCE_EVERY:
        "Every device brings its own samples, this one too; the first device sees them all.",
        "Jedes Gerät bringt seine eigenen Beispiele mit, auch dieses; das erste Gerät sieht alle.";
    PREFLIGHT_CHECKS:
        "What this device can do",
        "Was dieses Gerät kann";
    BUTTON_JOIN:
        "Join",
        "Mitmachen";
    BUTTON_WATCH:
        "Only watch",
        "Nur zuschauen";
    GRADE_ASKING:
        "asking",
        "fragt";
    GRADE_READY:
        "ready",
        "bereit";
    GRADE_WITHOUT:
        "without",
        "ohne";
    GRADE_FAILS:
        "fails",
        "scheitert";
    CHECK_ADAPTER:
        "GPU",
        "GPU";
    CHECK_WORKER:
        "Worker",
        "Worker";
    CHECK_STORAGE:
        "Storage",
        "Speicherplatz";
    CHECK_SCREEN:
        "Screen",
        "Bildschirm";
    CHECK_LINK:
        "Links",
        "Links";
    ADAPTER_NONE:
        "This browser gives no GPU to this page: the device computes on its CPU.",
        "Dieser Browser gibt der Seite keine GPU: Das Gerät rechnet auf seiner CPU.";
    ADAPTER_SOFTWARE:
        "The only GPU here is played by the CPU, which the device then uses itself.",
        "Die einzige GPU hier spielt die CPU; das Gerät nimmt sie dann gleich selbst.";
    STORAGE_UNKNOWN:
        "this browser has none for pages, or only over HTTPS",
        "dieser Browser hat keinen für Seiten, oder nur über HTTPS";
    SCREEN_CAN:
        "The browser can keep it on while this device trains.",
        "Der Browser kann ihn anlassen, solange dieses Gerät trainiert.";
    SCREEN_CANNOT:
        "This browser does not keep it on: leave the page in view.",
        "Dieser Browser lässt ihn nicht an: Lass die Seite offen.";
    SCREEN_INSECURE:
        "Only pages that came over HTTPS may keep it on, and use GPU and storage.",
        "Nur Seiten, die über HTTPS kamen, dürfen ihn anlassen und GPU und Speicherplatz nutzen.";
    LINK_LATE:
        "nothing came through in time",
        "nichts kam rechtzeitig an";
    DIAGNOSTICS:
        "Diagnostics",
        "Diagnose";
    DIAGNOSTICS_COPY:
        "Copy diagnostics",
        "Diagnose kopieren";
    PLEDGE_HINT:
        "of its memory",
        "von seinem Speicher";
    PLEDGE:
        "This device gives up to",
        "Dieses Gerät gibt bis zu";
    BUTTON_HOME:
        "Open another room",
        "Einen anderen Raum öffnen";
    DRAW_TITLE:
        "Draw a digit",
        "Zeichne eine Ziffer";
    DRAW_HINT:
        "The drawing goes through all layers of the ring, and what the network takes it for comes back. Say which it is, and the ring trains on it once. It is not kept.",
        "Die Zeichnung geht durch alle Schichten des Rings, und zurück kommt, wofür das Netz sie hält. Sag, welche es ist, und der Ring trainiert einmal damit. Sie wird nicht aufgehoben.";
    DRAW_ASKS_HINT:
        "Draw a digit: this device has a whole copy of the model, and says what it takes it for. Runs like this one do not train on drawings.",
        "Zeichne eine Ziffer: Dieses Gerät hat eine ganze Kopie des Modells und sagt, wofür es sie hält. Mit Zeichnungen trainieren Läufe wie dieser nicht.";
    ASK_WAITING:
        "Waits for this device's next turn.",
        "Wartet, bis dieses Gerät wieder dran ist.";
    ASK_BARS:
        "How probable the network holds each digit",
        "Für wie wahrscheinlich das Netz jede Ziffer hält";
    DRAW_PAD:
        "Drawing area: draw a digit with finger, mouse or pen",
        "Zeichenfläche: eine Ziffer mit Finger, Maus oder Stift zeichnen";
    DRAW_LABELS:
        "Which digit it is",
        "Welche Ziffer es ist";
    DRAW_TRAIN:
        "Train on this",
        "Damit trainieren";
    DRAW_CLEAR:
        "Clear",
        "Löschen";
    DRAW_WATCHING:
        "This page only watches. A device that takes part can draw digits and see what the network takes them for.",
        "Diese Seite schaut nur zu. Ein Gerät, das mitmacht, kann Ziffern zeichnen und sehen, wofür das Netz sie hält.";
    DRAW_BEFORE:
        "Once training runs, draw a digit here and see what the network takes it for.",
        "Sobald trainiert wird, zeichne hier eine Ziffer und sieh, wofür das Netz sie hält.";
    DRAW_PAUSED:
        "Training is paused; drawings enter when it goes on.",
        "Das Training hat Pause; Zeichnungen gehen ein, wenn es weitergeht.";
    DRAW_AFTER:
        "The run is over. Train again to draw digits for it.",
        "Der Lauf ist vorbei. Trainiere noch einmal, um Ziffern für ihn zu zeichnen.";
    DRAW_NO_SOURCE:
        "In this run another device draws the samples. In a room where every device trains on its own, this one would take drawings too.",
        "In diesem Lauf liefert ein anderes Gerät die Beispiele. In einem Raum, in dem jedes Gerät mit den eigenen trainiert, nähme auch dieses Zeichnungen an.";
    SHARE_TITLE:
        "Open this link on the next device",
        "Öffne diesen Link auf dem nächsten Gerät";
    PROJECTOR:
        "Show on a projector",
        "Auf dem Beamer zeigen";
    SHARE_COPY:
        "Copy link",
        "Link kopieren";
    SHARE_COPIED:
        "Copied",
        "Kopiert";
    SHARE_COPY_BY_HAND:
        "Selected: copy it",
        "Ausgewählt: jetzt kopieren";
    SHARE_LOCAL:
        "This address works on this computer only: open it in more tabs here. For other devices, serve on an address they can reach.",
        "Diese Adresse gilt nur auf diesem Rechner: Öffne sie hier in weiteren Tabs. Für andere Geräte muss der Server unter einer Adresse laufen, die sie erreichen.";
    SHARE_NETWORK:
        "Any device in this network can open it: scan the code with its camera.",
        "Jedes Gerät in diesem Netz kann ihn öffnen: den Code mit der Kamera scannen.";
    SHARE_NETWORK_WARNED:
        "Any device in this network can open it: scan the code with its camera. Its browser warns once that it does not know this computer's certificate. Go on there: press Advanced, on an iPhone Show Details.",
        "Jedes Gerät in diesem Netz kann ihn öffnen: den Code mit der Kamera scannen. Sein Browser warnt einmal, dass er das Zertifikat dieses Rechners nicht kennt. Geh dort weiter: auf Erweitert, am iPhone auf Details einblenden.";
    SHARE_WARNED:
        "Your browser warns once. Go on there: press Advanced, on an iPhone Show Details.",
        "Dein Browser warnt einmal. Geh dort weiter: auf Erweitert, am iPhone auf Details einblenden.";
    INSECURE:
        "This page came without HTTPS, so the browser holds back the GPU, storage and keeping the screen on. This device trains on its CPU",
        "Diese Seite kam ohne HTTPS, darum gibt der Browser GPU, Speicher und das Anlassen des Bildschirms nicht her. Dieses Gerät trainiert auf seiner CPU";
    INSECURE_ADVICE:
        "For the rest, open the https:// link that the server shows.",
        "Für das Übrige öffne den https://-Link, den der Server zeigt.";
    SCREEN_KEPT:
        "The screen stays on while this device trains. Locking it, or going to another app, stops this page: after a few seconds the others take over its layers.",
        "Der Bildschirm bleibt an, solange dieses Gerät trainiert. Wird es gesperrt oder eine andere App geöffnet, hält diese Seite an: Nach einigen Sekunden übernehmen die anderen ihre Schichten.";
    SCREEN_NOT_KEPT:
        "Keep this page in view: this browser does not keep the screen on for it. Once the screen is locked the page stops, and after a few seconds the others take over its layers.",
        "Lass diese Seite offen: Dieser Browser lässt den Bildschirm nicht für sie an. Ist er gesperrt, hält die Seite an, und nach einigen Sekunden übernehmen die anderen ihre Schichten.";
    MODEL_MLP:
        "mlp: a small classifier",
        "mlp: ein kleiner Klassifikator";
    MODEL_CNN:
        "cnn: convolutions over pictures",
        "cnn: Faltungen über Bilder";
    MODEL_GPT_NANO:
        "gpt-nano: a small transformer",
        "gpt-nano: ein kleiner Transformer";
}

/// The presets that tabs train within minutes, and a word for each.
pub const FORM_MODELS: [(&str, Text); 3] = [
    ("mlp", MODEL_MLP),
    ("cnn", MODEL_CNN),
    ("gpt-nano", MODEL_GPT_NANO),
];
