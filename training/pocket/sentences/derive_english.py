"""Derives english_rare.txt, the long tail of English words, from an installed list of words.

The source is Debian's package wamerican, /usr/share/dict/american-english, which is made from SCOWL (Spell Checker
Oriented Word Lists; its terms allow use, copying and change with the notice kept). Lower-case words of 3 to 12 letters
are taken. Forms that a rule makes of another word of the list (plurals, -ed, -ing, -ly, -ness, comparatives) are left
out but for one in a hundred: they teach no new stem. Offensive words are removed by stems and by whole words.
"""

from __future__ import annotations

import argparse
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["derived", "main"]

SOURCE = Path("/usr/share/dict/american-english")
TARGET = Path(__file__).parent / "english_rare.txt"
INFLECTED_KEPT_PERCENT = 1

ENDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("s", ("", "e")),
    ("es", ("", "e")),
    ("ies", ("y",)),
    ("ed", ("", "e")),
    ("ied", ("y",)),
    ("ing", ("", "e")),
    ("ings", ("", "e")),
    ("er", ("", "e")),
    ("ers", ("", "e")),
    ("ier", ("y",)),
    ("est", ("", "e")),
    ("iest", ("y",)),
    ("ly", ("", "le")),
    ("ily", ("y",)),
    ("ness", ("",)),
    ("iness", ("y",)),
)

# Slurs, and harmless words that a random sentence around them may turn into an insult; here: anywhere in a word.
OFFENSIVE_STEMS = (
    "aphrodis bastard bestial bisex bitch bollock brothel bugger buttock castrat clitor concubin condom "
    "copulat courtesan cunnil cunt defecat diarrh dildo ejacul enema erotic eunuch excrement faggot fagot "
    "feces fecal fellat foreskin fornic fuck genital genocid goddam hermaphrod holocaust imbecil incest "
    "jackass lesbian lewd libido lingerie lynch masochis masturb menstru molest moron mulatto necroph "
    "nigg nipple nympho orgas orgiast pedoph penis phall porn prostitut pubic pussy rapist redneck retard "
    "sadis scrot sexis sexual shit slut sodom spastic sperm strumpet suicid swastika tampon testicle "
    "transvest trollop urinal urinat urine vagin voyeur vulva wetback whore"
).split()
# The same as whole words, with or without an ending.
OFFENSIVE_WORDS = frozenset(
    (
        "abort abortion anal anus arse ass bimbo boner boob booby bra bum butt chink cleavage cock cocaine "
        "coitus coon crap cripple crotch cum dago damn damned dick dork dyke fag fanny fart floozy foreplay "
        "frigid gay gigolo gook gringo groin gypsy hag harlot heathen hell heroin ho homo hooker horny hump "
        "hussy hymen impotent jap junkie junky kike kink kinky lech lust lustful lusty midget mistress naked "
        "nude nudism nudist nudity orgy oriental pansy panties pee pimp piss poop prick queer randy rape "
        "rapine rectal rectum rut savage schmuck seduce semen sex sexed sexily sexpot sexy shag sissy skank "
        "slag smut smutty spank spook squaw striptease stripper stud tart terrorist tit tramp turd tush twat "
        "twerp undies virgin wank wop"
    ).split()
)
WORD_ENDINGS = ("", "s", "es", "d", "ed", "ing", "er", "ers", "y", "ier", "iest")
HARMLESS = frozenset({"cocker", "condominium", "congenital", "debugger", "dicker", "sclerotic", "therapist"})


def derived(words: Iterable[str]) -> list[str]:
    """The words kept, in alphabetical order."""
    plain = {word for word in words if re.fullmatch(r"[a-z]{3,12}", word)}
    return sorted(word for word in plain if _is_decent(word) and (not _is_inflected(word, plain) or _is_kept(word)))


def _is_inflected(word: str, among: set[str]) -> bool:
    for ending, replaced in ENDINGS:
        if not word.endswith(ending):
            continue
        stem = word.removesuffix(ending)
        doubled = len(stem) > 3 and stem[-1] == stem[-2] and stem[:-1] in among
        if doubled or any(len(stem + last) > 2 and stem + last in among for last in replaced):
            return True
    return False


def _is_kept(word: str) -> bool:
    return zlib.crc32(word.encode()) % 100 < INFLECTED_KEPT_PERCENT


def _is_decent(word: str) -> bool:
    if word in HARMLESS:
        return True
    if any(stem in word for stem in OFFENSIVE_STEMS):
        return False
    return not any(word.removesuffix(ending) in OFFENSIVE_WORDS for ending in WORD_ENDINGS)


def main() -> None:
    """Writes the list from the installed one, or from the one given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, default=SOURCE)
    parser.add_argument("target", nargs="?", type=Path, default=TARGET)
    options = parser.parse_args()
    words = derived(options.source.read_text(encoding="utf-8").splitlines())
    options.target.write_text("\n".join(words) + "\n", encoding="utf-8")
    print(f"{len(words)} words in {options.target}")


if __name__ == "__main__":
    main()
