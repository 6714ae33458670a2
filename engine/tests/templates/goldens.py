"""Writes goldens.json: what transformers makes of every request with every template.

    pip install transformers==5.23.0 jinja2==3.1.6 numpy && python goldens.py

The templates are written for this test in the form that the families publish theirs in.
"""

import datetime
import json
import pathlib

import jinja2
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent


class Clock(datetime.datetime):
    @classmethod
    def now(cls):
        return cls(2026, 11, 21, 9, 5, 7)


chat_template_utils.datetime = Clock


def message(role, content, **more):
    return {"role": role, "content": content, **more}


TOOL = {
    "type": "function",
    "function": {
        "name": "find_flowers",
        "description": "Finds flowers <near> a place & \"names\" them, l'été.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string", "enum": ["Köln", "東京"]}, "radius": {"type": "number", "default": 1.5}, "all": {"type": "boolean", "default": None}}, "required": ["place"]},
    },
}
CALL = {"id": "abc123XYZ", "type": "function", "function": {"name": "find_flowers", "arguments": {"place": "Köln", "radius": 1e-07, "all": True, "tags": []}}}
SYSTEM, HELLO, ANSWER = message("system", " Be brief. "), message("user", "Hello, <b>bee</b>!"), message("assistant", "  Buzz.\n")
ODD = message("user", "\n\tbraces {{ x }} {% if %} {# c #} \\n \"quoted\" 'single' 🐝 e\u0301 \u2028 \u0000\u001f <|im_end|>\n\n")
THOUGHT = message("assistant", "<think>\nhm {x}\n</think>\n\nBuzz.")
CALLED = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = message("tool", '{"flowers": ["rose"]}')

REQUESTS = {
    "one": {"messages": [HELLO]},
    "system": {"messages": [SYSTEM, HELLO]},
    "turns": {"messages": [SYSTEM, HELLO, ANSWER, message("user", "More."), ANSWER]},
    "turns_without_system": {"messages": [HELLO, ANSWER, message("user", "stop"), ANSWER]},
    "odd": {"messages": [ODD, ANSWER, ODD]},
    "empty": {"messages": [message("user", "")]},
    "spaces": {"messages": [message("user", "\u001c \u00a0 x \u3000\u0085")]},
    "no_messages": {"messages": []},
    "two_users": {"messages": [HELLO, HELLO]},
    "unknown_role": {"messages": [HELLO, message("narrator", "It hums.")]},
    "no_role": {"messages": [{"content": "x"}]},
    "no_content": {"messages": [{"role": "user"}]},
    "null_content": {"messages": [message("user", None)]},
    "list_content": {"messages": [message("user", [{"type": "image"}, {"type": "text", "text": " look "}])]},
    "tools": {"messages": [SYSTEM, HELLO], "tools": [TOOL, TOOL]},
    "tools_without_system": {"messages": [HELLO], "tools": [TOOL]},
    "call": {"messages": [HELLO, CALLED, RESULT], "tools": [TOOL]},
    "calls": {"messages": [HELLO, {**CALLED, "tool_calls": [CALL, CALL]}, RESULT, RESULT, ANSWER, HELLO], "tools": [TOOL]},
    "thought": {"messages": [HELLO, THOUGHT, HELLO, THOUGHT]},
    "reasoning": {"messages": [HELLO, message("assistant", "Buzz.", reasoning_content="\nhm\n")]},
    "options": {"messages": [HELLO], "enable_thinking": False, "date_string": "1 Jan 1970", "tools_in_user_message": False, "tools": [TOOL], "custom_tools": [TOOL]},
}


def rendered(template, request, prompted):
    arguments = {key: value for key, value in request.items() if key != "messages"}
    try:
        found, _ = chat_template_utils.render_jinja_template(conversations=[request["messages"]], chat_template=template, add_generation_prompt=prompted, bos_token="<s>", eos_token="</s>", **arguments)
        return {"text": found[0]}
    except jinja2.exceptions.TemplateError as error:
        kind = "refused" if type(error) is jinja2.exceptions.TemplateError else "failed"
        return {kind: str(error)}
    except TypeError as error:
        return {"failed": str(error)}


if __name__ == "__main__":
    goldens = []
    for path in sorted(HERE.glob("*.jinja")):
        template = path.read_text("utf-8")
        for name in REQUESTS:
            for prompted in [True, False]:
                goldens.append({"template": path.name, "request": name, "prompted": prompted, **rendered(template, REQUESTS[name], prompted)})
    # As texts, so that the order of keys stays.
    requests = {name: json.dumps(request, ensure_ascii=False) for name, request in REQUESTS.items()}
    lines = ",\n".join(json.dumps(golden, ensure_ascii=False) for golden in goldens)
    (HERE / "goldens.json").write_text(f'{{"requests": {json.dumps(requests, ensure_ascii=False)},\n"goldens": [\n{lines}\n]}}\n', "utf-8")
    for kind in ["text", "refused", "failed"]:
        print(kind, sum(kind in golden for golden in goldens))
