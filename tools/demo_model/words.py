"""The words and facts that the demo model's text is made of. Their order is part of the corpus."""

from __future__ import annotations

SYSTEM_PROMPT = "You are a helpful assistant. 你是一个乐于助人的助手。"

NAMES = (
    "Lily Tom Anna Ben Mia Jack Sara Leo Emma Max Lucy Sam Zoe Tim Nina Paul Rose Finn Kate Owen"
).split()
ANIMALS = (
    "cat dog rabbit fox bear bird frog mouse horse duck sheep goat owl turtle pig cow lion monkey "
    "llama alpaca"
).split()
ADJECTIVES = "small big happy brave shy kind clever old young quiet funny gentle".split()
COLORS = "red blue green yellow white black orange pink brown purple".split()
THINGS = (
    "ball book kite hat cup drum box lamp boat flower stone bell cake coat star leaf apple key map "
    "toy"
).split()
PLACES = [
    "the park",
    "the forest",
    "the river",
    "the garden",
    "the school",
    "the beach",
    "the farm",
    "the hill",
    "the market",
    "the lake",
]
FEELINGS = "happy proud glad calm excited".split()
MISHAPS = [
    "it started to rain",
    "the wind blew it away",
    "it fell into the water",
    "it broke in two",
    "it got lost in the tall grass",
    "a big wave took it",
    "it rolled under a bush",
    "it was too high to reach",
]
EFFORTS = [
    "looked everywhere",
    "asked for help",
    "sat down and thought",
    "called a friend",
    "made a plan",
    "tried again and again",
]
SOLUTIONS = [
    "found it behind a tree",
    "fixed it with some tape",
    "climbed up and got it back",
    "used a long stick to reach it",
    "found it the next morning",
    "built a new one together",
]
LESSONS = [
    "it is good to share",
    "friends help each other",
    "it is fine to ask for help",
    "you should never give up",
    "being kind makes everyone happy",
    "it is good to be patient",
]

CAPITALS = [
    ("France", "Paris", "法国", "巴黎"),
    ("China", "Beijing", "中国", "北京"),
    ("Japan", "Tokyo", "日本", "东京"),
    ("Germany", "Berlin", "德国", "柏林"),
    ("Italy", "Rome", "意大利", "罗马"),
    ("Spain", "Madrid", "西班牙", "马德里"),
    ("Russia", "Moscow", "俄罗斯", "莫斯科"),
    ("Egypt", "Cairo", "埃及", "开罗"),
    ("Peru", "Lima", "秘鲁", "利马"),
    ("Canada", "Ottawa", "加拿大", "渥太华"),
    ("Britain", "London", "英国", "伦敦"),
    ("Greece", "Athens", "希腊", "雅典"),
    ("Norway", "Oslo", "挪威", "奥斯陆"),
    ("Poland", "Warsaw", "波兰", "华沙"),
    ("Cuba", "Havana", "古巴", "哈瓦那"),
    ("Kenya", "Nairobi", "肯尼亚", "内罗毕"),
    ("Thailand", "Bangkok", "泰国", "曼谷"),
    ("Turkey", "Ankara", "土耳其", "安卡拉"),
    ("Austria", "Vienna", "奥地利", "维也纳"),
    ("Portugal", "Lisbon", "葡萄牙", "里斯本"),
]
"""Country and capital, in English and in Chinese."""

OPPOSITES = [
    ("hot", "cold"),
    ("big", "small"),
    ("up", "down"),
    ("day", "night"),
    ("fast", "slow"),
    ("happy", "sad"),
    ("light", "dark"),
    ("open", "closed"),
    ("wet", "dry"),
    ("old", "new"),
    ("high", "low"),
    ("full", "empty"),
    ("soft", "hard"),
    ("near", "far"),
    ("early", "late"),
]
SOUNDS = [
    ("cat", "meow"),
    ("dog", "woof"),
    ("cow", "moo"),
    ("duck", "quack"),
    ("sheep", "baa"),
    ("pig", "oink"),
    ("horse", "neigh"),
    ("lion", "roar"),
    ("frog", "ribbit"),
    ("owl", "hoot"),
    ("bird", "tweet"),
    ("mouse", "squeak"),
]
TRANSLATIONS = [
    ("cat", "猫"),
    ("dog", "狗"),
    ("bird", "鸟"),
    ("fish", "鱼"),
    ("water", "水"),
    ("fire", "火"),
    ("mountain", "山"),
    ("moon", "月亮"),
    ("sun", "太阳"),
    ("tree", "树"),
    ("flower", "花"),
    ("book", "书"),
    ("house", "房子"),
    ("friend", "朋友"),
    ("school", "学校"),
    ("teacher", "老师"),
    ("student", "学生"),
    ("apple", "苹果"),
    ("tea", "茶"),
    ("rice", "米饭"),
]
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()
NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()

SMALL_TALK = [
    ("Hello!", "Hello! How can I help you?"),
    ("Hi", "Hi! How can I help you today?"),
    ("你好", "你好！有什么可以帮你的吗？"),
    (
        "Who are you?",
        "I am a small demo model. I can tell short stories and answer simple questions.",
    ),
    ("你是谁？", "我是一个小小的演示模型，可以讲故事，也可以回答简单的问题。"),
    ("Thank you!", "You are welcome!"),
    ("谢谢", "不客气！"),
    ("Goodbye", "Goodbye! Have a nice day."),
]

ZH_NAMES = ["小明", "小红", "小丽", "小华", "小刚"]
ZH_ANIMALS = ["小猫", "小狗", "小鸟", "小兔子", "羊驼"]
ZH_THINGS = ["红色的气球", "蓝色的帽子", "一本新书", "一朵黄花", "一个苹果"]
ZH_PLACES = ["公园", "学校", "河边", "山上", "花园"]
ZH_ENDINGS = ["他们成了好朋友。", "大家都很高兴。", "从此他们每天一起玩。"]

CODE = [
    ("def add(a, b):\n    ", "return a + b", "\n"),
    ("def area(w, h):\n    ", "return w * h", "\n"),
    ("for i in range({n}):\n    ", "print(i)", "\n"),
    ("def is_even(n):\n    ", "return n % 2 == 0", "\n"),
    ("def square(x):\n    ", "return x * x", "\n"),
    ("total = 0\nfor x in values:\n    ", "total += x", "\nprint(total)\n"),
    ("def greet(name):\n    ", 'return "Hello, " + name', "\n"),
    ("def first(items):\n    ", "return items[0]", "\n"),
    ("def last(items):\n    ", "return items[-1]", "\n"),
    (
        "def count(words):\n    result = {}\n    for w in words:\n        ",
        "result[w] = result.get(w, 0) + 1",
        "\n    return result\n",
    ),
]
"""What stands before a gap, what belongs into it, and what follows; {n} becomes a number."""
