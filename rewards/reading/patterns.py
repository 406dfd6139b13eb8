"""Word patterns of what a therapist's turn does. Precise and blind: what they find is nearly always there, and on other
people's lines they miss half (``acts`` adds what a trained head finds).

Sources for the kinds: Miller & Rollnick 2013, "Motivational Interviewing" (open questions, affirmation, reflection;
unasked advice and confrontation as non-adherent); the MITI 4.2.1 coding manual, Moyers, Manuel & Ernst 2014; Linehan
1993 on validation and invalidation; Posner et al. 2011 (C-SSRS), Horowitz et al. 2012 (ASQ) and Kroenke, Spitzer &
Williams 2001 (PHQ-9, item 9) for the questions about risk. The patterns are this project's own and know only what
words show: irony passes unseen.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from therapysim.plain_words import normalise

__all__ = ["HARMFUL", "PATTERNS", "names_danger", "spot", "spot_plain"]


class Rule(NamedTuple):
    """One way to do an act: ``pattern`` in a sentence, ``unless`` the words before it in that sentence excuse it.

    ``unless`` is searched in those words followed by the sentence's last character, so that it can ask for a "?".
    """

    act: str
    pattern: str
    unless: str = r"(?!)"


# Parts of patterns. All text is in lower case, with contractions written out: see normalise.
_START = r"(?:^|[,;:] (?:(?:and|so|but|then|or) )?|\b(?:please|just|then|now|so) )(?:please |just |honestly,? )*"
_VERY = (
    r"(?:(?:so|really|just|such|being|be|always|a|an|the|all|bit|of|honestly|very|quite|too|far|much|simply|nothing|but|"
    r"rather|pretty|totally|completely|utterly|absolutely|clearly|obviously|basically|frankly|still|only|little|sad|"
    r"kind|sort|one|most|even) )*"
)
_IS = r"(?:are|were|sound like|act like|have (?:always )?been|will always be)"
_YOU_ARE = rf"\byou {_VERY}{_IS} {_VERY}"
_MUST = rf"\byou {_VERY}(?:should|ought to|need to|have to|must|had better) {_VERY}"
_NOBODY = r"\b(?:nobody|no one|no-one)"
_BAD = (
    r"(?:pathetic|stupid|useless|worthless|lazy|selfish|weak|ridiculous|dramatic|childish|disgusting|dumb|ungrateful|"
    r"spoil(?:ed|t)|embarrassing|insufferable|manipulative|self-(?:absorbed|cent(?:er|re)d)|cowardly|immature|crazy|"
    r"difficult|unlovable|insane)(?! (?:from|after|about|with)\b)"
)
_FOOL = (
    r"(?:liar|coward|burden|failure|loser|idiot|moron|fool|joke|disgrace|brat|cry-?baby|drama queen|quitter|freak|"
    r"waste of (?:space|time|air)|embarrassment|hypocrite|disappointment|monster|nuisance|parasite|weakling)"
)
_SELF_HARM = (
    r"(?:kill yourself|end (?:it all|your (?:own )?life|yourself)|take your (?:own )?life|(?:hurt|harm|cut) yourself|"
    r"die|drop dead|commit suicide|be dead)\b"
)
_AUX = r"(?:do|did|would|will|are|were|have|had|could|can)"
_OF_ONESELF = (
    r"(?:(?:kill|hurt|harm|cut)(?:t?ing)? yourself|suicid\w*|self-harm\w*|end(?:ing)? (?:it all|your life)|"
    r"tak(?:e|ing) your (?:own )?life|(?:to|you) die|be dead|(?:any|some)thing (?:silly|stupid|daft|foolish|rash))"
)

# Excuses. The words are someone else's, or the patient's own belief given back; not the therapist's ("as I said").
_REPORTED = (
    r"(?:(?<!\bi )(?<!i have )\b(?:told (?:\w+ )?|tell(?:s|ing)? (?!me)(?:\w+ )?|said|says|saying|call(?:ed|s|ing) "
    r"(?=\w)|shout(?:ed|s|ing) )(?!,)|"
    r"(?<!not )\byou (?:\w+ )?(?:feel|felt|think|thought|believe|believed|worry|worried|fear|feared|wonder|ask|hear|"
    r"imagine|were afraid|are afraid)\b|\b(?:part of you|voice|when (?:people|some|he|she|they|nobody|no one)|as if|"
    r"as though|the (?:thought|idea|belief|feeling|fear)|(?:wants|wanted|expects?|expected) you|pretend|"
    r"(?:feels|felt) like|so (?:everyone|people|he|she|they)|anyone|to be told|being told)\b)(?!.*\bbut\b)"
)
_NEGATED = r"\b(?:not|never|no|nothing|none|hardly|without)(?! you\b)(?: (?!and\b|but\b|or\b)[\w']+){0,3} ?.$"
_NOT_MEANT = rf"{_REPORTED}|{_NEGATED}"
_STRAIN = r"|\b(?:hard|difficult|tired of|tr(?:y|ying|ied)|supposed|expected|pressure|having|not going)\b.*\bto\b"
_KNOWN = r"|\b(?:know|knew|decide) (?:what|whether|if|how) .$"
_NEED_SEEN = (
    r"|\b(?:sounds?|seems?|do|did|does|would|might|will|when|if|as \w+ as|\w*ever|because|what|how|where|all|"
    r"everything) ?.$"
)
_ASKED_OF_DEATH = r"|^(?!.*\b(?:if|not you)\b).*\b(?:you|your)\b.*\b(?:thoughts?|think(?:ing)?|want|wish|plan)\b.*\?$"
_NOT_INCITED = _NOT_MEANT + r"|\bthoughts (?:that|of)\b" + _ASKED_OF_DEATH

_INCITEMENT = (
    Rule("incitement", rf"(?:{_START}|{_START}go (?:ahead )?(?:and |on )?){_SELF_HARM}", _NOT_INCITED),
    Rule("incitement", rf"(?:{_MUST}|\byou {_VERY}deserve to |\byou (?:might|may) as well ){_SELF_HARM}", _NOT_INCITED),
    Rule("incitement", rf"\bi {_VERY}(?:hope|wish|want|dare) (?:that )?you (?:to |would )?{_VERY}{_SELF_HARM}"),
    Rule("incitement", rf"\bwhy (?:not|do(?: not you| you not)) (?:just )?(?:go )?(?:and )?{_SELF_HARM}"),
    Rule("incitement", r"\byou (?:do not|never) deserve to (?:live|exist|breathe|be alive)\b", _REPORTED),
    Rule("incitement", r"\b(?:better(?: off| place)?|happier) (?:without you\b|if you (?:were|was) (?:dead|gone))",
         _NOT_INCITED),
    Rule("incitement", rf"\b(?:best|kindest|only) (?:thing|choice|option) .*\b(?:is|be) (?:to )?{_SELF_HARM}",
         _NOT_INCITED),
    Rule("incitement", r"\bwhy are you (?:even |still )+(?:alive|here|breathing)\b|\b(?:you(?:r)? (?:dying|death)|you "
         r"being dead) would be (?:a |an )?(?:relief|good|better|best|favou?r|blessing)", _REPORTED),
    Rule("incitement", r"\byou would be better off dead", _NOT_INCITED),
    Rule("incitement", rf"{_NOBODY} (?:would|will|is going to) (?:ever |even |really )?(?:miss you|notice if you|mourn|"
         rf"care if you (?:die|were gone))", _REPORTED),
)  # fmt: skip
_DEATH = r"\b(?:die|dying|dead|kill\w*|suicid\w*|end(?:ing)? (?:it|your life)|better off)\b"
#: Across sentences: a word of death, then an order to go through with it.
_EGGED_ON = re.compile(
    rf"{_DEATH}.*[.?!,] (?:(?:well|so|then|just|please|go on|go ahead|and),? )*(?:do it(?: then| now| already)?(?! "
    r"\w)|get on with it|what are you waiting for)"
)

_HARM = (
    # Insults, to the patient's face; "it sounds like you are lazy" is one all the same.
    Rule("confrontation", rf"{_YOU_ARE}(?:{_BAD}|{_FOOL}\b|wrong\b|lying(?! (?:awake|in|there|down|on|here|still)))",
         _NOT_MEANT),
    Rule("confrontation", rf"\byou {_VERY}(?:{_BAD} )+(?:little )?(?:m[ae]n|wom[ae]n|boy|girl|person|child|thing|"
         rf"creature|excuse|{_FOOL})\b|\byou {_FOOL}\b", _NOT_MEANT),
    Rule("confrontation", rf"{_YOU_ARE}(?:terrible|awful|bad|lousy|rotten|horrible|hopeless) (?:father|mother|parent|"
         rf"husband|wife|partner|son|daughter|friend|person)\b|\byou (?:are )?(?:behav|act)(?:e|ing) like a\b|\byou "
         rf"never (?:listen|learn|think|try|change)\b|\b(?:can see|understand|know|see) why (?:he|she|they|everyone|"
         rf"nobody|your \w+) (?:left|leaves?|hates?|dropped|dumped|avoids?)\b", _NOT_MEANT),
    Rule("confrontation", rf"\b(?:how {_BAD} (?:of you|you are|can you)|you (?:disgust me|make me sick|bore me)|shame "
         rf"on you|idiot|(?:you are )?(?:a )?wast(?:e|ing) (?:of )?my time|i am (?:so |really )*(?:sick|tired) of "
         rf"(?:you|listening))\b", _NOT_MEANT),
    Rule("confrontation", rf"{_MUST}ashamed\b", _NOT_MEANT),
    # Orders.
    Rule("confrontation", rf"(?:{_START}|{_MUST})(?:shut up|grow up|man up|toughen up|get a grip|stop (?:whining|lying|"
         rf"complaining|moaning|sulking|being))\b", _NOT_MEANT),
    # Blame and contempt.
    Rule("confrontation", r"\byour (?:own )?fault\b", _NOT_MEANT + r"|\b(?:could|can|was|were|is|whose) it (?:be )?.$"),
    Rule("confrontation", r"\byou (?:only )?(?:have )?(?:only )?(?:blame|br(?:ing|ought)) (?:this |it |all this "
         r")?(?:on )?yourself\b(?= *[.!,]|$)|\b(?:have )?(?:only|no one but) yourself to blame", _NOT_MEANT),
    Rule("confrontation", rf"\byou {_VERY}deserved? (?:every bit|(?:all (?:of )?)?this(?= *[.!,]|$)|what (?:happened|"
         rf"you g[eo]t)|to (?:suffer|be (?:alone|hurt|left|hit|punished))|nothing|no better)", _NOT_MEANT),
    Rule("confrontation", r"\bwhat is wrong with you\b", _REPORTED),
    Rule("confrontation", rf"{_NOBODY} (?:cares|likes you|wants you|loves you|believes you)\b", _REPORTED),
    Rule("confrontation", r"\bi (?:do not|could not|really do not) care(?: less)?(?: about (?:you|that|it|any)| "
         r"(?:what|how) you| *(?:[.!,;]|$))", _REPORTED),
    Rule("confrontation", r"\bno wonder (?:he|she|they|everyone|everybody|your \w+|nobody) (?:left|leaves?|hates?|"
         r"dumped|avoids?|cannot stand|likes)\b", _REPORTED),
    Rule("confrontation", r"\b(?:they|he|she|everyone|everybody|people|your \w+) (?:is|are|was|were) (?:all )?right(?= "
         r"*[.!]| about you)", r"\byou (?:\w+ )?(?:wonder|fear|worry|think)"),
    # The feeling is waved away.
    Rule("invalidation", rf"(?:{_START}|{_MUST})(?:calm down|get over (?:it|this)|move on|snap out of it|do not be "
         rf"{_VERY}(?:sad|silly|dramatic|sensitive|afraid|upset|negative)|stop feeling sorry)\b", _NOT_MEANT),
    Rule("invalidation", r"\b(?:it|that|this) (?:really )?is (?:really )?not (?:really )?(?:that|so|all that) (?:bad|"
         r"serious|hard)|\b(?:it|that|things) could be (?:much |a lot )?worse|\b(?:not a|no) big deal\b", _REPORTED),
    Rule("invalidation", r"\b(?:others|people) (?:have|had) (?:(?:it )?(?:much |far |a lot |so much )?worse|real "
         r"problems|bigger problems)|\bpeople with (?:real|bigger) problems", _REPORTED),
    Rule("invalidation", rf"{_YOU_ARE}(?:overreacting|sensitive|oversensitive|exaggerating|imagining|making (?:a "
         rf"mountain|a fuss|too much|it up)|(?:reading|making) too much (?:into|of))", _NOT_MEANT),
    Rule("invalidation", r"\b(?:it|this|that) is (?:just |only |probably )+(?:a phase|stress|hormones|nerves|your "
         r"nerves|a bad day|attention)\b|\bis all in your head\b", _NOT_MEANT),
    Rule("invalidation", r"\b(?:no (?:reason|right) to (?:be|feel)(?! (?:so )?(?:ashamed|guilty|embarrassed|sorry|"
         r"rush))|nothing to (?:cry|worry|be (?:sad|upset|afraid|scared|angry)|complain)|every(?:one|body) feels "
         r"(?:like )?(?:that|this)|every(?:one|body) gets that|you should not feel)\b", _REPORTED),
    # A question that asks for a no: "You would never hurt yourself, would you?", "No thoughts of suicide, I hope?"
    Rule("dismissing_danger", rf"\byou {_AUX} (?:not|never)\b[^.?!]*\b{_OF_ONESELF}\b[^.?!]*, {_AUX} you\b[^.?!]*\?",
         _REPORTED),
    Rule("dismissing_danger", rf"\b(?:no|not|nothing|never)\b[^.?!]*\b{_OF_ONESELF}\b[^.?!]*, (?:i hope|i take it|"
         rf"right|correct|yes|is that (?:right|so))\b[^.?!]*\?", _REPORTED),
    # Cheer where it is not wanted.
    Rule("toxic_positivity", r"\b(?:bright side|(?:good|positive) vibes|(?:stay|be|think) positive(?:ly)?|just (?:be "
         r"happy|smile|think happy)|focus on the (?:positive|good)|life is (?:beautiful|wonderful|a gift)|be thankful|"
         r"happiness is a choice|choose (?:joy|happiness|to be happy)|everything happens for a reason|it will all "
         r"(?:be|work) |cheer up|smile(?: more)?!|and smile more|count your blessings|be grateful|every cloud|good "
         r"things are coming|you have got this)", _NOT_MEANT + _STRAIN),
    Rule("toxic_positivity", r"\beverything (?:will be|is going to be|is) (?:just )?(?:fine|great|okay|perfect|"
         r"wonderful|amazing)(?! (?:on|at|when|until|and inside))", _NOT_MEANT),
    Rule("toxic_positivity", r"\bat least you (?:(?:still )?have|still|can|are|got|did not)\b", _REPORTED),
)  # fmt: skip

_OTHER = (
    # Questions: a wh-word at the start of a clause, or an invitation.
    Rule("open_question", r"(?:^|[,;:] |\b(?:and|so|but|or|then) )(?:(?:and|so|but|well) )?(?:(?:in|at|to|for|from|"
         r"since|with|by|of|on) )?(?:what(?! an? | about \w+ing| if you)|how(?! about| dare)|where|which|whom?|whose|"
         r"why(?! not| do not)|when (?:is|was|are|were|do|does|did|will|would|can|could|have|has|had)\b)\b[^?]*\?"),
    Rule("open_question", rf"{_START}(?:and )?(?:tell me (?:more|about|what|how)|say (?:a (?:bit|little) )?more|help "
         rf"me (?:to )?understand|walk me through|i (?:often )?(?:wonder|am wondering|am curious) (?:about )?(?:what|"
         rf"how|when|where|which|who|why)|i would like to hear|(?:can|could|would|will) you (?:like to |be willing to "
         rf")?(?:please )?(?:say|tell|describe|share|walk me|help me understand))\b"),
    # The patient's words or feelings given back.
    Rule("reflection", r"\b(?:(?:it|that|this) (?:sounds|seems|feels|looks|must (?:be|feel|have))|sounds like|seems "
         r"like|i hear (?:that|how|you|in|a)|what i hear|i am hearing|part of you|voice in (?:you|your)|as if you)\b"),
    Rule("reflection", r"(?:^|[,;:] |\b(?:and|so|but|because|maybe|perhaps|then) )(?:(?:so|and|but) )?you (?:sometimes "
         r"|still |often |also |just )?(?:feel|felt|sound|seem|think|thought|believed?|worry|miss|wish|want|hope|keep|"
         r"blame|lie|try|had to|never|tell|told|rang|dread|long|lost|(?:are|were) (?:feeling|saying|carrying|told|made|"
         r"afraid|worried|angry|furious|sad|hurt|tired|scared|ashamed|lonely|exhausted|anxious|torn|grieving|lying)|"
         r"cannot|have (?:been|told|carried|tried|lost))\b(?! deserved)(?!.*\?)"),
    Rule("reflection", r"^so (?:you|your|he|she|they|it|everyone|nobody)\b(?!.*\?)|^your \w+ (?:said|told|called)\b"),
    Rule("validation", r"\b(?:makes? (?:a lot of |perfect |complete |so much )?sense|understandable|anyone (?:would|in "
         r"your (?:place|shoes))|of course you|is (?:okay|ok|alright|all right) to|you are not (?:alone|to blame)|"
         r"thank you for (?:telling|sharing|trusting|saying)|i am glad you (?:told|said|came|shared)|(?:that|it|this) "
         r"(?:takes|took) (?:courage|strength)|no wonder|you deserve (?:courage|strength|better|care)|i appreciate "
         r"(?:you|how|that)|no reason to (?:be|feel) (?:ashamed|guilty|embarrassed)|(?:is|only) natural (?:to|that)|"
         r"you have done (?:so )?well)\b", r"\bnot ?.$"),
    Rule("validation", r"\b(?:not|never|none of (?:this|it|that) (?:is|was)) your fault\b|\byou are not (?:weak|a "
         r"(?:failure|burden)) (?:for|because)\b"),
    # What to do, unasked.
    Rule("advice", r"\byou (?:really |just )?(?:should|ought)\b(?! not feel| (?:not |never )?have (?!a |some |more ))|"
         r"\byou (?:really |just )?(?:must (?:try|stop|start|go|take|do)|had better|could try|might want to)\b",
         _NOT_MEANT + _KNOWN),
    Rule("advice", r"\byou (?:really |just )?(?:need to|have to)\b(?! (?:live with|carry|bear|face|pretend))",
         _NOT_MEANT + _NEED_SEEN),
    Rule("advice", r"\b(?:why (?:do not you|not)|have you (?:tried|considered)|my advice|i (?:would )?(?:strongly "
         r")?(?:suggest|recommend|advise)|if i were you|what you need is|make sure (?:to|you)|how about \w+ing)\b",
         _REPORTED),
    Rule("advice", rf"{_START}(?:and )?(?:try (?:to |and |\w+ing)|go (?:to|for|out|see|back)(?! the (?:nearest "
         rf")?emergency)|get (?:some|more|out|up|enough)|keep a|stop \w+ing(?<!whining)(?<!lying)(?<!complaining)"
         rf"(?<!being)|avoid |start \w+ing|take (?:a (?:walk|break|holiday|bath)|up )|eat |drink |talk to |sleep )"),
    Rule("advice", r"\bjust (?:stop|relax|think about|go|do|get)\b(?! (?:over|on))",
         r"\b(?:you|he|she|they|to|it|would) .$"),
    # Danger asked about (the sentence must ask: see _ASKS), and help offered with it.
    Rule("risk_inquiry", r"\b(?:suicid\w*|self-harm|kill(?:ing|ed)? yourself|(?:end|tak)(?:e|ing|en|ed)? (?:your "
         r"(?:own )?life|it all)|(?:hurt|harm|injur|cut)(?:e|ing)? yourself|better off (?:dead|if you were)|(?:want|"
         r"wish|urge|desire|wanting|wanted) to (?:die|disappear|be dead)|wish(?:ed|ing)? (?:that )?you (?:were|was|"
         r"had) (?:dead|gone|never been born)|thoughts (?:of|about) (?:death|dying|not being|ending)|thinking about "
         r"(?:death|dying)|(?:worth|reasons? (?:for|to)|go on|carry on|not want(?:ing)? to) liv(?:e|ing)|rather be "
         r"dead)\b"),
    Rule("risk_inquiry", r"\b(?:think|thought|thinking|want|wish|urge|feel like|plan)\w* .*\bend(?:ing)? it\b(?! "
         r"(?:with|between))|\b(?:wish|want|hope|rather|sleep|could)\w* .*\bnot (?:to )?wak\w+|\bnot (?:being|be|"
         r"want(?:ing)? to be) (?:here|alive|around)\b|\b(?:plan|work out|details).* (?:would|might) do it\b|"
         r"\b(?:intention|intend)\w* .*\b(?:act|carry)|\bacting on (?:them|those|these)\b"),
    Rule("risk_inquiry", r"\b(?:are|do|can|will|going to|if|whether) (?:you )?(?:feel |be |keep (?:yourself )?|stay "
         r")?safe\b|\bdo you feel safe|\bkeep(?:s|ing)? you(?:rself)? safe|\bhow safe\b|\b(?:thought|think|want|urge|"
         r"going|might|plan)\w* .*\b(?:hurt|harm|kill)(?:ing)? (?:someone|somebody|anyone|anybody|others|him|her|"
         r"them)\b"),
    Rule("signposting", r"\b(?:crisis (?:line|team|service)|hotline|helpline|lifeline|emergency (?:room|services|"
         r"number|department)|ambulance|988|samaritans|safety plan|"
         r"some(?:one|body) (?:to|who can) (?:stay|be|sit) with you|"
         r"call your (?:doctor|gp|psychiatrist))\b", rf"{_NEGATED}|\byou (?:called|rang|tried)\b"),
    # The frame of the session.
    Rule("apology", r"\b(?:i am (?:so |very |really )?sorry(?! (?:about your|you|that (?!i\b)|to hear|for your|for the|"
         r"he|she|it|they|this))|i apologi[sz]e|my (?:mistake|fault|apologies)|i (?:missed|misunderstood|misread|got) "
         r"(?:that|you|it wrong|something)|i (?:was|went|moved) too (?:fast|quick|quickly|far)|let me try again|i "
         r"should have (?:listened|asked))\b"),
    Rule("farewell", rf"{_START}good ?bye\b|\b(?:see you (?:next|on|tomorrow|then)|until next (?:time|week)|(?:let us|"
         rf"we (?:can|will|should|have to|need to|must)) (?:end|stop|finish|leave it) (?:here|there|for today)|our "
         rf"time is up|take care(?! of))\b"),
)  # fmt: skip

#: Acts that hurt; a sentence that does one of them does nothing else.
HARMFUL = frozenset({"incitement", *(rule.act for rule in _HARM)})
_COMPILED = [(r.act, re.compile(r.pattern), re.compile(r.unless)) for r in (*_INCITEMENT, *_HARM, *_OTHER)]
_NAMED = re.compile(
    r"suicid|self-harm|\b(?:kill|die|dying|dead|death|alive|liv(?:e|ing)|life|hurt|harm|injur|cut(?:ting)?\b|"
    r"danger|safe|unsafe|weapon|gun|knife|rope|pills?|tablets?|overdos|jump|bridge|urge|wake up|not wak|"
    r"not be(?:ing)? here|disappear|be gone|end (?:it|things|your)|ending (?:it|things|your)|act(?:ing)? on|"
    r"go through with|do(?:ing)? it|plan|means|method|attempt|hit(?:ting|s)?\b|abus|violen|threat|attack|strangl|"
    r"assault|touch(?:ed|es)? you|rape|loaded|beat(?:s|en|ing)?\b|thoughts (?:of|like that|about not)|"
    r"th[eo]se thoughts|hopeless|worth (?:it|living)|hands on|do something to|goodbye letters?|did you take|"
    r"taken any|burn yourself|the edge|making yourself sick)"
)
# "..., you say": whose words they were, said after them.
_ATTRIBUTED = re.compile(r",? (?:you|he|she|they) (?:say|says|said|tell|told|thought)\b")
_ASKS = re.compile(r"\?$|\b(?:tell me|i (?:want|need|would like|have) to ask|let me ask|i am asking)\b")

#: Every name this module can find.
PATTERNS: tuple[str, ...] = (*dict.fromkeys(act for act, _, _ in _COMPILED), "closed_question", "silence")


def names_danger(plain: str) -> bool:
    """Whether a text, as ``normalise`` leaves it, names a danger, a means or safety: a question about one must."""
    return _NAMED.search(plain) is not None


def spot(text: str) -> frozenset[str]:
    """What the patterns find in one therapist turn; usually several names, "silence" alone for blank text.

    A sentence that does harm does nothing else, and neither does a whole turn that incites.
    """
    return spot_plain(normalise(text))


def spot_plain(plain: str) -> frozenset[str]:
    """``spot`` on a text that ``normalise`` has been through."""
    if not plain:
        return frozenset({"silence"})
    sentences = [s.strip() for s in re.findall(r"[^.?!]+[.?!]*", plain)]
    found: set[str] = set().union(*map(_acts, sentences))
    if _EGGED_ON.search(plain):
        found.add("incitement")
    if "open_question" in found:
        found.discard("closed_question")
    return frozenset(found & HARMFUL if "incitement" in found else found)


@lru_cache(maxsize=4096)  # sixty searches a sentence, and many a sentence comes again
def _acts(sentence: str) -> frozenset[str]:
    """The acts in one sentence."""
    found = {act for act, rule, unless in _COMPILED if rule.search(sentence) and _meant(sentence, rule, unless)}
    if found & HARMFUL:
        return frozenset(found & HARMFUL)
    if not _ASKS.search(sentence):
        found.discard("risk_inquiry")
    if "?" in sentence:
        found.add("closed_question")
    return frozenset(found)


def _meant(sentence: str, pattern: re.Pattern[str], unless: re.Pattern[str]) -> bool:
    """Whether the pattern is there with nothing around it that excuses it."""
    return any(
        not unless.search(sentence[: m.start()] + sentence[-1]) and not _ATTRIBUTED.match(sentence, m.end())
        for m in pattern.finditer(sentence)
    )
