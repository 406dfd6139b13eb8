"""What kind of turn the therapist made, by word patterns.

Sources for the kinds: Miller & Rollnick 2013, "Motivational Interviewing" (open questions, affirmation, reflection;
unasked advice and confrontation as non-adherent); the MITI 4.2.1 coding manual, Moyers, Manuel & Ernst 2014; Linehan
1993 on validation and invalidation. The patterns are this project's own and know only what words show: irony passes
unseen.
"""

import re

__all__ = ["ACTS", "classify"]

_PATTERNS: dict[str, str] = {
    "open_question": r"\b(what|how|in what way|tell me (more|about)|help me understand|i wonder|could you (say|tell)|"
    r"can you (say|tell|describe)|would you (say|tell|share)|walk me through|say more)\b[^?.!]*[?.]",
    "reflection": r"\b((it|that|this) (sounds|seems|feels|must (be|feel|have)|looks) |sounds like|seems like|"
    r"i hear (that|how|you|in)|what i hear|i('m| am) hearing|you('re| are) (feeling|saying|carrying|afraid|worried|"
    r"angry|sad|hurt|tired|scared|torn|grieving)|you feel|you felt|you sound|you seem|part of you|as if you|"
    r"a part of you|you have been (carrying|feeling|holding|trying)|you('ve| have) been through)",
    "validation": r"\b(makes? (a lot of |perfect |complete |so much )?sense|understandable|anyone would|of course you|"
    r"it('s| is) (okay|ok|alright|all right) to|you('re| are) not alone|"
    r"thank you for (telling|sharing|trusting|saying)|"
    r"i('m| am) glad you (told|said|came|shared)|that took (courage|strength)|no wonder|"
    r"(you|it) (deserve|takes|took) (courage|strength|better|care)|i appreciate (you|how|that))",
    "advice": r"\b(you (should|ought|need to|must (try|stop|start|go|take|do)|have to|had better|could try)|"
    r"(why don't|why not) (you )?(just |try )?|have you (tried|considered)|try (to |and )?(get|do|take|eat|go|think|"
    r"exercise|sleep|meditat|breath|focus|read|stop|keep|not|\w+ing)|my advice|i (would )?(suggest|recommend|advise)|"
    r"i('d| would) (suggest|recommend|advise)|if i were you|what you need is|just (stop|relax|calm|think|go|do|get)|"
    r"make sure (to|you)|start (by )?(doing|going|exercising|taking)|avoid (the|thinking|all))\b",
    "confrontation": r"\b(you('re| are) (wrong|lying|being (lazy|ridiculous|dramatic|selfish|childish|difficult|weak)|"
    r"pathetic|stupid|weak|lazy|selfish|a (liar|coward|burden|failure|loser))|stop (whining|complaining|lying|being)|"
    r"your (own )?fault|you (only )?(blame|bring) (this |it )?(on )?yourself|shut up|grow up|man up|what is wrong with "
    r"you|what's wrong with you|nobody (likes|cares)|i (don't|do not) care|waste of (my )?time|you disgust|idiot)",
    "invalidation": r"(^|[.!?,] *|you (should|need to|have to) )(please |just )?calm down|"
    r"\b(it('s| is) not (that|so) (bad|serious|hard)|(it|that) could be worse|"
    r"others have it worse|"
    r"other people have (it|real|bigger|worse)|you('re| are) (overreacting|too sensitive|exaggerating|imagining)|"
    r"(just )?get over it|(just )?move on|don't be (so )?(sad|silly|dramatic|sensitive|afraid|upset|negative)|"
    r"no reason to (be|feel)|nothing to (be|worry|cry)|not a big deal|no big deal|everyone feels|"
    r"it('s| is) all in your head|you shouldn't feel|you should not feel)",
    "toxic_positivity": r"\b(look on the bright side|bright side|good vibes|positive vibes|stay positive|be positive|"
    r"think positive(ly)?|just (be happy|smile|think happy)|happiness is a choice|choose (joy|happiness|to be happy)|"
    r"everything happens for a reason|it('ll| will) all (be|work out)|everything (will be|is going to be|is) "
    r"(fine|great|okay|perfect|wonderful|amazing)|cheer up|smile( more)?!|count your blessings|be grateful|"
    r"every cloud|at least you|good things are coming|you('ve| have) got this)",
    "risk_question": r"\b(suicid\w*|kill(ing)? yourself|end(ing)? (your|it all|your own) ?(life)?|hurt(ing)? yourself|"
    r"harm(ing)? yourself|wish(ing|ed)? (you were|to be|you'd|you would).{0,20}(dead|not wake|gone)|want(ing)? to die|"
    r"(wish|urge) to die|thoughts of (death|dying|not being|ending)|not want(ing)? to (live|be (here|alive)|wake)|"
    r"(hurt|harm)(ing)? (someone|somebody|anyone|others)|feel(ing)? safe|are you safe|keep(ing)? (you|yourself) safe)",
    "resources": r"\b(crisis (line|team|service)|hotline|helpline|emergency (room|services|number)|988|samaritans|"
    r"safety plan|someone who can (stay|be) with you)\b",
    "apology": r"\b(i('m| am) sorry|i apologi[sz]e|my (mistake|apologies)|i (missed|misunderstood|misread|got) (that|"
    r"you|it wrong|something)|i (was|went|moved) too (fast|quick|far)|let me try again|i should have (listened|asked))",
    "farewell": r"\b(goodbye|good bye|see you next|until next (time|week)|(end|stop|finish|leave it) (here|there|for "
    r"today)|our time is up|take care)\b",
}
_COMPILED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _PATTERNS.items()}

#: Every act this module can find.
ACTS: tuple[str, ...] = (*_PATTERNS, "closed_question", "silence")


def classify(text: str) -> frozenset[str]:
    """The acts in one therapist turn; usually several, "silence" alone for blank text."""
    plain = text.replace("\u2019", "'")
    if not plain.strip():
        return frozenset({"silence"})
    found = {name for name, pattern in _COMPILED.items() if pattern.search(plain)}
    if "?" in plain and "open_question" not in found:
        found.add("closed_question")
    # "I am sorry you went through that" is sympathy, and an apology only where the speaker owns something.
    if "apology" in found and re.search(r"\bsorry (you|that you|to hear|for your)", plain, re.IGNORECASE):
        found.discard("apology")
    return frozenset(found)
