"""Writes torture.txt: one JSON string per line, each a text that a tokenizer may get wrong.

Run it only to add cases: the goldens belong to the file as it lies here.
    python torture.py && python vocabularies.py && node goldens.mjs
"""

import json
import pathlib
import random

HERE = pathlib.Path(__file__).parent

PROSE = """
The hive hums at dawn; 3,141 bees leave before 6:30, and none of them asks why.
It's what they've done, isn't it? We'll say they'd gone; I'm sure you're right, 'twas so.
IT'S WHAT THEY'VE DONE, ISN'T IT? WE'LL SAY THEY'D GONE; I'M SURE YOU'RE RIGHT, 'TWAS SO.
Dr. Müller's naïve café résumé: “Ça coûte 12,50 €”, dit-elle — «voilà!» … fin.
Größere Übungen für Straßenbahnfahrer; ÄÖÜ äöü ẞ ß. Der Fluß, die Flüsse.
El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia; ¿qué año? ¡Mañana!
À l'été où l'œuvre naît, l'hôtel brûle; çà et là, l'aïeul rêve d'un garçon.
Zażółć gęślą jaźń. Příliš žluťoučký kůň úpěl ďábelské ódy. Árvíztűrő tükörfúrógép.
Ægir þekkir öldurnar; Ísland á sér langa sögu. Blåbærsyltetøy og smørrebrød.
İstanbul'da ığdır ağaçları; I, ı, İ, i: dört harf. Şişli'de çok güzel.
Пчёлы летят на рассвете, а улей гудит: 1 234 пчелы. Съешь ещё этих мягких булок.
Їжак і ґава їдять щось; Беларусь: ў, і. Ђорђе, Љубица и Његош су Џиновски.
Οι μέλισσες πετούν την αυγή· Ὦ ξεῖν᾽, ἀγγέλλειν Λακεδαιμονίοις. ΣΊΣΥΦΟΣ σίσυφος ς.
הדבורים יוצאות עם שחר; שָׁלוֹם עֲלֵיכֶם (טקסט עם ניקוד). 1234 דבורים.
النحل يطير عند الفجر، ويسأل: لماذا؟ السَّلَامُ عَلَيْكُمْ ١٢٣٤٥ نحلة؛ ۱۲۳ فارسی می‌خواهم.
یہ شہد کی مکھی ہے۔ پاکستان میں ۲۰۲۶ء۔
मधुमक्खियाँ भोर में उड़ती हैं; क्षत्रिय ज्ञान श्री १२३४ रुपये। संस्कृतम् ॐ॥
মৌমাছি ভোরে ওড়ে; ক্ষুদ্র জ্ঞান ১২৩। ਮਧੂ ਮੱਖੀ ਸਵੇਰੇ। મધમાખી સવારે ઊડે છે.
தேனீக்கள் விடியலில் பறக்கின்றன; தமிழ் எழுத்து ௧௨௩. తేనెటీగలు ఉదయాన్నే. ಜೇನುಹುಳು ಬೆಳಿಗ್ಗೆ. തേനീച്ചകൾ പുലർച്ചെ.
ผึ้งบินตอนรุ่งสาง ๑๒๓๔ ตัว น้ำผึ้งหวานมาก ທົດສອບ ຜີ້ງ ឃ្មុំហើរពេលព្រឹក ပျားများ မနက်တွင်
སྦྲང་བུ་ཞོགས་པར་འཕུར། ༡༢༣ ᠵᠥᠭᠡᠢ ᠥᠷᠯᠥᠭᠡ ንቦች ጎህ ሲቀድ ይበራሉ። ፲፪ ფუტკარი დილით მიფრინავს მღვდელი ԱԲԳ Մեղուները արշալույսին։
蜜蜂在黎明起飞，一共三千一百四十一只。為什麼？「不知道。」《蜂巢》……
ミツバチは夜明けに飛び立つ。ｶﾀｶﾅとカタカナ、ひらがな、漢字、１２３ＡＢＣ。ヽヾゝゞ〱〼々〆ヶ
꿀벌은 새벽에 날아오른다. 왜? 3141마리! 각 낱말과 ᄒᆞᆫ글, ㄱㄴㄷ ㅏㅑㅓ. 한국어 띄어쓰기.
Ong bay lúc bình minh; Tiếng Việt có nhiều dấu: ắằẳẵặ ốồổỗộ ứừửữự. Đường đi.
ᚠᛇᚻ᛫ᛒᛦᚦ᛫ᚠᚱᚩᚠᚢᚱ 𐌰𐌱𐌲 𐍈 𒀀𒁀 𓂀𓃀𓆤 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚 ⅣⅧⅫ ①②③ ½⅓¾ ²³¹ ₁₂₃ ㊀㊁ ㎏㎡ ℃℉№™
🐝 honey 🍯🐻, family 👨‍👩‍👧‍👦 flag 🇩🇪🇯🇵🇺🇳 rainbow 🏳️‍🌈 skin 👋🏽👩🏿‍🚀 keycap 1️⃣#️⃣ heart ❤️ ❤ 🫶🏻 tag 🏴󠁧󠁢󠁥󠁮󠁧󠁿
e\u0301 vs é; n\u0303 vs ñ; A\u030A vs Å vs Å; q\u0307\u0323 vs q\u0323\u0307; Z\u0351\u036B\u0343a\u0363\u0308l\u0329g\u0321o\u0322
zero\u200bwidth\u200bspace, non\u200djoin\u200cer, soft\u00adhyphen, word\u2060joiner, bom\ufeffhere, nbsp\u00a0here, narrow\u202fhere, ideographic\u3000space
rtl \u202eoverride\u202c, \u2066isolate\u2069, line\u2028sep para\u2029sep next\u0085line, ogham\u1680space, em\u2003space, figure\u2007space
nul \u0000 bell \u0007 esc \u001b[31mred\u001b[0m del \u007f c1 \u0080\u0090\u009f fs \u001c gs \u001d rs \u001e us \u001f vt \u000b ff \u000c
private \ue000\uf8ff\U000f0000 noncharacter \ufdd0\ufffe\uffff\U0001fffe replacement \ufffd unassigned \u0378\u0379\U000e0080
https://example.org:8443/a/b.html?q=%E4%BD%A0&x[]=1#frag user.name+tag@mail.example.co.uk ftp://[::1]/ C:\\Users\\bee\\file.txt ~/.ssh/id_ed25519
def f(x: int) -> int:\\n\\treturn x**2 if x>=0 else -x  # naïve
fn main() { let v: Vec<&'static str> = vec!["a", "b"]; println!("{:?}", v[0]); } // 'a 's 't
#include <stdio.h>\\r\\nint main(void)\\r\\n{\\r\\n\\tprintf("%d\\\\n", 0x1F);\\r\\n\\treturn 0;\\r\\n}\\r\\n
SELECT * FROM `hive` WHERE bees >= 1000 AND name LIKE '%queen%' -- comment
<div class="bee" data-x='{"a":[1,2.5e-3,null]}'>&amp; &lt;b&gt; &#x1F41D;</div><!-- x --><br/>
$x = $y + ${z}; @a %b &c ^d ~e `ls -la | grep foo` && echo "$(pwd)" || exit 1; a<b>c=d|e!f?
\\\\frac{1}{2} \\\\sum_{i=0}^{n} x_i^2 \\\\leq \\\\alpha \\\\cdot \\\\beta $$E=mc^2$$ ∀x∈ℝ: ∃y ≠ ∞ ∑∏∫√ ≤≥ ± × ÷ → ⇒ ⟨a|b⟩
| a | b |\\n|---|:-:|\\n| 1 | **2** |\\n\\n- [x] done\\n- [ ] todo\\n\\n```rust\\nlet x = 1;\\n```\\n> quote\\n
1 12 123 1234 12345 123456 1234567 12345678901234567890 0x7fff_ffff 1e10 -3.14 +1.0E-5 1,234,567.89 00:00:01.002 2026-11-21T09:50Z
a1b2c3 v1.2.3-rc.4+build.5 IPv6 fe80::1%eth0 192.168.0.1/24 #ff00aa 50% 10€ £20 ¥30 ₹40 ₿5 n°7 §8 ¶9 †10
camelCase PascalCase snake_case SCREAMING_SNAKE kebab-case HTTPServerError iPhone McDonald's LaTeX eBay ABCdefGHI XMLHttpRequest2 ÀÉÎabc straßeABC ΑΒΓαβγ
~tilde ~~two~~ ~é ~~~ x~y ~ ~1 `tick` ``two`` ^caret ^^ <lt >gt =eq == +plus ++ |pipe || $dollar $$ ~a `b ^c <d >e =f +g |h $i
'S 'T 'RE 'VE 'M 'LL 'D 's 't 're 've 'm 'll 'd 'Re 'vE 'lL ' s ’s ’t 'ſ 'x ''s '''ll x's1 1's 's's's a'b'c'd
</s> <s> <unk> <pad> <|im_start|> <|im_end|> <|endoftext|> <|eot_id|> [CLS] [SEP] [MASK] <0x41> <0x0A> <start_of_turn> <|end|> <mask>
▁ ▁▁ a▁b ▁lower ##ing Ġ Ċ ĠĠ âĢĻ Ã© ł Ń ġ
"""

WORDS = ["hive", "Bee", "ÉTÉ", "été", "蜜蜂", "пчела", "نحلة", "मधु", "🐝", "x", "I", "42", "٣", "Ⅻ", "½", "e\u0301", "\u0301", "'s", "'LL", ".", "...", "!?", "/", "~", "`", "$", "_", "-", "«", "”", "。", "、", "\u200d", "\ue000", "\u0378", "<|im_end|>", "</s>", "\u2581"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", " \n \n ", "\u00a0", "\u3000", "\u2028", "\u0085", "\u000b", "", "", "", ""]


def cases():
    for line in PROSE.strip("\n").split("\n"):
        yield line.replace("\\\\", "\0").replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t").replace("\0", "\\")
    yield from ["", " ", "  ", "\n", "\t", "\r\n", "\n\n\n", " \n", "\n ", "a", " a", "a ", " a ", "  a  ", "\na\n", "é", "\u0301", "🐝", "\u0000", "\u0085", "\u00a0", "\u3000 ", "'", "'s", "▁", "<s>", "</s>", "~", "1", "12", "123", "1234"]
    for n in [2, 3, 4, 7, 15, 16, 17, 31, 64]:
        yield " " * n + "x" + " " * n
        yield "\n" * n + "x" + "\t" * n
    for unit in ["a", "ab", "aab", "A", "é", "蜜", "🐝", "1", "!", "~", " .", "\u0301", "ा", "=", "-", "_", "\r\n", " \t", "\u200d"]:
        yield unit * 33
        yield "x" + unit * 8 + "y"
    yield "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3
    yield "pneumonoultramicroscopicsilicovolcanoconiosis" + "antidisestablishmentarianism" * 4
    yield "".join(chr(c) for c in range(0x00, 0x80))
    yield "".join(chr(c) for c in range(0x80, 0x180))
    for base in range(0x180, 0x3100, 0x2C0):
        yield "".join(chr(c) for c in range(base, base + 0x2C0, 23))
    yield "".join(chr(c) for c in range(0x3100, 0xD7FF, 997)) + "".join(chr(c) for c in range(0xE000, 0x10000, 331))
    yield "".join(chr(c) for c in range(0x10000, 0x30000, 2999))
    rng = random.Random(3)
    for _ in range(150):
        pieces = []
        for _ in range(rng.randint(2, 14)):
            pieces += [rng.choice(WORDS), rng.choice(SPACES)]
        yield "".join(pieces)


if __name__ == "__main__":
    lines = [json.dumps(case, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\u0085", "\\u0085") for case in cases()]
    (HERE / "torture.txt").write_bytes(("\n".join(lines) + "\n").encode("utf-8"))
