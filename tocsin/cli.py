"""The command `tocsin`: reads the command line, calls one function, and turns what goes wrong into one message.

Each command imports what it needs when it is called: `tocsin token` must not wait for a web server to load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bus.clock import SystemClock
from bus.errors import BusError
from bus.event import MAX_TTL
from bus.settings import BadSetting, read
from tocsin import version_text
from tocsin.folder import Folder
from tocsin.settings import CliSettings, environment, load, load_gateway
from tocsin.trouble import Trouble, explain


@dataclass(frozen=True, slots=True)
class Context:
    """What every command gets."""

    arguments: argparse.Namespace
    environ: Mapping[str, str]
    settings: CliSettings
    folder: Folder

    def show(self, value: Any, lines: Sequence[str]) -> int:
        """Print `value` as JSON when asked for by --json, else the lines."""
        text = json.dumps(value, default=str) if self.arguments.json else "\n".join(lines)
        return _print(text) if text else 0


def _print(text: str) -> int:
    """Whoever reads it may have had enough (`| head`): nobody's fault, but told to scripts as by other programs."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left would fail once more at the end
        return 128 + signal.SIGPIPE
    return 0


EXPECTED = (Trouble, BadSetting, BusError, OSError, BaseExceptionGroup)
"""What may hold an expected failure; `explain` says whether it does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0, or as in `tocsin.trouble`."""
    given = list(sys.argv[1:] if argv is None else argv)
    # What follows `redis-cli` is all its own, options too, which argparse would want for itself.
    own, rest = (given[:1], given[1:]) if given[:1] == ["redis-cli"] else (given, [])
    arguments = parser().parse_args(own)
    arguments.rest = rest
    command: Callable[[Context], int] = arguments.command
    try:
        return command(_context(arguments))
    except KeyboardInterrupt:
        return 130
    except EXPECTED as error:
        if (trouble := explain(error)) is None:
            raise
        print(f"tocsin: {trouble}", file=sys.stderr)
        return trouble.code


def _context(arguments: argparse.Namespace) -> Context:
    environ = environment()
    settings = load(environ)
    return Context(arguments, environ, settings, Folder(Path(arguments.data_folder or settings.data)))


# Roles -----------------------------------------------------------------------------------------------------------


def _dev(context: Context) -> int:
    from tocsin.dev import DevOptions, run

    a = context.arguments
    return run(context.folder, context.environ, DevOptions(a.host, a.port, a.workers, a.json))


def _gateway(context: Context) -> int:
    from gateway.main import main as gateway

    return gateway(context.arguments.workers)


def _fanout(context: Context) -> int:
    from fanout.main import main as fanout

    return fanout()


def _deliver(context: Context) -> int:
    from fanout.deliver.main import main as deliver

    return deliver(context.arguments.channel)


def _mailbox(context: Context) -> int:
    from tocsin.mailbox import run

    asyncio.run(run(context.settings, context.arguments.port))
    return 0


# Tools -----------------------------------------------------------------------------------------------------------


def _publish(context: Context) -> int:
    from tocsin.looking import gateway_url
    from tocsin.publishing import Draft, post, to_event

    a = context.arguments
    draft = Draft(
        users=tuple(a.user),
        topics=tuple(a.topic),
        type=a.type,
        title=a.title,
        body=a.body,
        data=a.data,
        event_id=a.id,
        source=a.source,
        ephemeral=a.ephemeral,
        category=a.category,
        template=a.template,
        ladder=a.ladder,
        ttl=a.ttl,
        at=a.at,
        collapse_key=a.collapse_key,
    )
    event = to_event(draft)
    answer = post(a.url or gateway_url(context.settings, context.folder), a.key or context.settings.api_key, event)
    line = f"accepted {answer.get('id')} in partition {answer.get('partition')} at {answer.get('position')}"
    return context.show(answer, [line])


def _explain(context: Context) -> int:
    from tocsin import explaining
    from tocsin.looking import gateway_url

    a = context.arguments
    url, key = a.url or gateway_url(context.settings, context.folder), a.key or context.settings.api_key
    answer = explaining.explain(url, key, a.id, a.user, a.source)
    return context.show(answer, explaining.lines(answer))


def _token(context: Context) -> int:
    from tocsin.tokens import duration, make

    a = context.arguments
    ttl = duration(a.ttl)
    topics = [topic for given in a.topics for topic in given.split(",") if topic]
    settings = load_gateway(context.environ)
    token = make(settings, context.folder, SystemClock(), user=a.user, ttl=ttl, topics=topics)
    return context.show({"token": token, "expires_in": ttl}, [token])


def _dead(context: Context) -> int:
    from tocsin.dead import run
    from tocsin.looking import redis_url

    url = redis_url(context.settings, context.folder, context.environ)
    return asyncio.run(run(context.arguments, context.settings, url, context.show))


def _operated(context: Context) -> tuple[str, str]:
    """Where the gateway is, and the key to it."""
    from tocsin.looking import gateway_url

    a = context.arguments
    return a.url or gateway_url(context.settings, context.folder), a.key or context.settings.api_key


def _revoke(context: Context) -> int:
    from tocsin.operating import revoke

    return revoke(context.arguments, *_operated(context), SystemClock(), context.show)


def _disconnect(context: Context) -> int:
    from tocsin.operating import disconnect

    return disconnect(context.arguments, *_operated(context), context.show)


def _namespaces(context: Context) -> int:
    from tocsin.operating import namespaces

    return namespaces(context.arguments, *_operated(context), context.show)


def _keys(context: Context) -> int:
    from tocsin.newkeys import NewKeys

    keys = NewKeys.make()
    return context.show(keys.as_dict(), keys.as_toml())


def _acl(context: Context) -> int:
    from tocsin import acl

    a = context.arguments
    users = acl.users_of(a.prefix or context.settings.prefix)
    lines = [user.command(sentinel=a.sentinel) if a.setuser else user.line(sentinel=a.sentinel) for user in users]
    if not context.arguments.json:
        print("\n".join(acl.told(users)), file=sys.stderr)
    return context.show(acl.as_rows(users), lines)


def _rekey(context: Context) -> int:
    from tocsin.looking import system_settings
    from tocsin.rekey import run, to_stderr

    settings = system_settings(context.folder, context.environ)
    return asyncio.run(run(settings, SystemClock(), context.show, to_stderr))


def _partitions(context: Context) -> int:
    from tocsin.looking import as_rows, partition_lines, partitions

    names = context.arguments.name
    rows = partitions(context.settings, names)
    return context.show(as_rows(rows), partition_lines(rows, names))


def _settings(context: Context) -> int:
    from tocsin.looking import all_settings
    from tocsin.toml import to_toml

    settings = all_settings(context.environ)
    return context.show(settings, to_toml(settings).strip().splitlines())


def _redis_cli(context: Context) -> int:
    from tocsin.looking import redis_url
    from tocsin.redis_cli import become_redis_cli

    url = redis_url(context.settings, context.folder, context.environ)
    become_redis_cli(url, context.arguments.rest, context.environ)
    return 0


def _template(context: Context) -> int:
    from fanout.deliver.settings import DeliverSettings
    from tocsin.settings import read_checked
    from tocsin.templates import run

    configured = read(DeliverSettings, read_checked(context.environ), context.environ, table="deliver").templates
    return run(context.arguments, configured, context.show)


def _version(context: Context) -> int:
    return context.show({"version": version_text()}, [version_text()])


# The command line ------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="tocsin", description="Self-hosted real-time notifications.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON, for a script")
    common.add_argument("--data-folder", metavar="DIR", help="folder of `tocsin dev` (TOCSIN_DATA, default .tocsin)")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Callable[[Context], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", parents=[common])
        added.set_defaults(command=command)
        return added

    _add_roles(add)
    _add_tools(add)
    return top


Add = Callable[[str, Callable[[Context], int], str], argparse.ArgumentParser]


def _add_roles(add: Add) -> None:
    dev = add("dev", _dev, "run the whole system here: Redis, gateway, fan-out and delivery workers, a mailbox")
    dev.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    dev.add_argument("--port", type=_number(0, 65_535), help="port of the page (default 8000; 0: any free one)")
    dev.add_argument("--workers", type=_number(1, 64), help="gateway processes (default 1)")
    gateway = add("gateway", _gateway, "run a gateway node, as tocsin.toml and TOCSIN_* say")
    gateway.add_argument("--workers", type=_number(1, 64), help="processes on its port, each a node (default: setting)")
    add("fanout", _fanout, "run a fan-out worker, as tocsin.toml and TOCSIN_* say")
    deliver = add("deliver", _deliver, "run a delivery worker, as tocsin.toml and TOCSIN_* say")
    channels = ("push", "email", "sms", "webhook")
    deliver.add_argument("--channel", action="append", default=[], choices=channels, help="repeatable (default: all)")
    mailbox = add(
        "mailbox", _mailbox, "run the SMTP server of `tocsin dev`, which delivers nothing and shows everything"
    )
    mailbox.add_argument("--port", type=_number(1, 65_535), default=1025, help="to listen on (default 1025)")


def _add_tools(add: Add) -> None:
    publish = add("publish", _publish, "send one event")
    publish.add_argument("--user", action="append", default=[], metavar="NAME", help="a user it is for; repeatable")
    publish.add_argument("--topic", action="append", default=[], metavar="NS:NAME", help="a topic; repeatable")
    publish.add_argument("--type", default="note", help="what happened (default note)")
    publish.add_argument("--title")
    publish.add_argument("--body")
    publish.add_argument("--data", metavar="JSON", help="anything, for your page to read")
    publish.add_argument("--id", help="the event's id: a second event with it and the same source is the same event")
    publish.add_argument("--source", help="who says so")
    publish.add_argument("--ephemeral", action="store_true", help="only for who is there now; kept nowhere")
    publish.add_argument("--category", help="what sort it is: its ladder, and what people may turn off")
    publish.add_argument("--template", help="the template that words it")
    publish.add_argument("--ladder", metavar="JSON", help="the steps to follow, in place of its category's")
    publish.add_argument("--ttl", type=_number(0, MAX_TTL), metavar="SECONDS", help="how long it is wanted (1 day)")
    publish.add_argument("--at", metavar="TIME", help="when to send it (RFC 3339)")
    publish.add_argument("--collapse-key", metavar="KEY", help="on a phone it replaces the one before of this key")
    publish.add_argument("--url", help="the gateway (TOCSIN_URL; default: the `tocsin dev` of this folder)")
    publish.add_argument("--key", help="API key (TOCSIN_API_KEY; default dev-key)")

    explaining = add("explain", _explain, "say why a person did or did not get an event")
    explaining.add_argument("id", help="the event's id")
    explaining.add_argument("--user", required=True, metavar="NAME", help="who is meant")
    explaining.add_argument("--source", help="the event's source (default: the name of the API key)")
    explaining.add_argument("--url", help="the gateway (TOCSIN_URL; default: the `tocsin dev` of this folder)")
    explaining.add_argument("--key", help="API key (TOCSIN_API_KEY; default dev-key)")

    token = add("token", _token, "print a token (JWT) of a user")
    token.add_argument("user")
    token.add_argument("--ttl", default="1h", help="how long it is good: 90s, 15m, 1h, 7d (default 1h)")
    token.add_argument("--topics", action="append", default=[], metavar="A,B", help="topics that it opens; repeatable")

    _add_operating(add)
    _add_dead(add("dead", _dead, "look at buried events, drop them, or send them again"))
    _add_template(add("template", _template, "list templates, see what one makes of an event, or try them all"))
    add("keys", _keys, "print new keys for a settings file: directory, index, Web Push")
    acl = add("acl", _acl, "print Redis users for the roles, each with a new password and the least rights")
    acl.add_argument("--prefix", help="of the installation (default: the setting)")
    acl.add_argument("--setuser", action="store_true", help="as commands for redis-cli, not as lines for redis.conf")
    acl.add_argument("--sentinel", action="store_true", help="for the sentinels, which know users of their own")
    add("rekey", _rekey, "encrypt contacts and push targets anew, with the first of directory_keys")
    partitions = add("partitions", _partitions, "list the partitions' streams, to XADD by hand")
    partitions.add_argument("name", nargs="*", help="users, topics or ordering keys: only their partitions")
    add("settings", _settings, "show the settings of every role, secrets masked")
    add("redis-cli", _redis_cli, "open redis-cli on the Redis in use; whatever follows is handed to it")
    add("version", _version, "print the version")


def _add_operating(add: Add) -> None:
    revoke = add("revoke", _revoke, "revoke a token, or all that a user has; with neither, list what is revoked")
    revoke.add_argument("user", nargs="?", help="whose tokens, all that were made until now")
    revoke.add_argument("--jti", help="the one token with this id")
    revoke.add_argument("--issued-before", metavar="WHEN", help="only those made before: 2h, 7d, 2026-11-23T08:00:00Z")
    disconnect = add("disconnect", _disconnect, "end all connections that a user has now")
    disconnect.add_argument("user")
    disconnect.add_argument("--reconnect", action="store_true", help="they are to come back at once")
    disconnect.add_argument("--code", type=_number(3_000, 4_999), help="of the close (default 3503, or 3011)")
    namespaces = add("namespaces", _namespaces, "show the rules of topics, or change them while everything runs")
    namespaces.add_argument("action", choices=("ls", "show", "set", "reset"))
    namespaces.add_argument("name", nargs="?", help="the part of a topic before the colon; * for all not named")
    namespaces.add_argument("rules", nargs="*", metavar="RULE=VALUE", help="of set: all that differ from *")
    for one in (revoke, disconnect, namespaces):
        one.add_argument("--url", help="the gateway (TOCSIN_URL; default: the `tocsin dev` of this folder)")
        one.add_argument("--key", help="API key of scope admin (TOCSIN_API_KEY; default dev-key)")


def _add_dead(dead: argparse.ArgumentParser) -> None:
    dead.add_argument("action", choices=("ls", "show", "drop", "replay"))
    dead.add_argument("letters", nargs="*", metavar="ID", help="as `ls` prints them: partition/id")
    dead.add_argument("--limit", type=_number(1, 100_000), default=100, help="how many, newest first (100)")
    dead.add_argument("--channel", help="only jobs of this channel: push, email, sms, webhook")
    dead.add_argument("--queue", help="only of this queue: events, bulk, timers")
    dead.add_argument("--reason", metavar="TEXT", help="only those whose reason contains this")
    dead.add_argument("--since", metavar="WHEN", help="only those buried since: 2h, 7d, or 2026-11-23T08:00:00Z")
    dead.add_argument("--until", metavar="WHEN", help="only those buried until")
    dead.add_argument("--dry-run", action="store_true", help="for drop, replay: only say which it would be")


def _add_template(template: argparse.ArgumentParser) -> None:
    template.add_argument("action", choices=("ls", "render", "test"))
    template.add_argument("name", nargs="?", help="of render: which template")
    template.add_argument(
        "--channel", choices=("email", "push", "sms", "live"), default="email", help="(default email)"
    )
    template.add_argument("--locale", default="", help="such as pt-BR (default: that of everyone)")
    template.add_argument(
        "--data", metavar="JSON|FILE", help="an event or a sample (default: the template's first sample)"
    )
    template.add_argument("--folder", metavar="DIR", help="of the templates (default: the setting of [deliver])")


def _number(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
