/**
 * From the words that were typed to an exit status: the table of commands as a commander program, and one place where
 * every failure is told. Nothing here is done before it is known what was asked for.
 */
import { Command as Parser, CommanderError, Option } from 'commander'
import { GodwitError } from '../../protocols/errors.ts'
import { CONFIG_KEYS, type Flags } from '../config-keys.ts'
import { KINDS } from '../control/envelope.ts'
import { VERSION } from '../version.ts'
import {
  type Command,
  EXIT_CODES,
  GLOBAL_OPTIONS,
  type Io,
  LIST_OPTIONS,
  type OptionRow,
  type Values,
} from './command.ts'
import { COMMANDS, NOUNS } from './commands.ts'
import { envelopeOf, printError } from './failures.ts'
import { Session } from './session.ts'

/** Reads are answered at once; a command that says nothing else ends in this time. */
const TIMEOUT = '10s'

/** Runs one command. Never throws: what went wrong is on stderr, and in the status. */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  if (argv[0] === 'complete') {
    const { complete } = await import('./completion.ts')
    await complete(argv.slice(1), io)
    return 0
  }
  let session: Session | undefined
  let exit = 0
  try {
    const program = buildProgram(io, async (command, parser) => {
      session = sessionOf(io, command, parser)
      exit = await perform(session, command, program)
    })
    await program.parseAsync(schemaless(argv), { from: 'user' })
    return exit
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    const json = session === undefined ? wantsJson(argv) : isJson(session.output.format)
    const envelope = envelopeOf(error, session?.peer ?? '')
    io.err(printError(envelope, json))
    if (argv.includes('--debug') && error instanceof Error && envelope.code === 'INTERNAL')
      io.err(`${error.stack}\n`)
    return envelope.exit
  } finally {
    session?.close()
  }
}

async function perform(session: Session, command: Command, program: Parser): Promise<number> {
  if (command.name === 'help') return help(session, program)
  if ('run' in command) return command.run(session)
  const kind = KINDS[command.method]
  if (session.has('watch')) {
    const { watch } = await import('./watch.ts')
    return watch(session, command.method, kind)
  }
  const params = command.params?.(session.words, session.values) ?? {}
  await session.show(kind, await session.ask(command.method, params))
  return 0
}

async function help(session: Session, program: Parser): Promise<number> {
  if (session.values['json'] === true) {
    const { commandTree } = await import('./tree.ts')
    session.io.out(`${JSON.stringify(commandTree(), null, 2)}\n`)
    return 0
  }
  let at = program
  for (const word of [session.words['noun'], session.words['verb']]) {
    if (word === undefined) break
    at =
      at.commands.find((each) => each.name() === word || each.aliases().includes(word)) ?? unknown(at, word)
  }
  at.outputHelp()
  return 0
}

type Dispatch = (command: Command, parser: Parser) => Promise<void>

function buildProgram(io: Io, dispatch: Dispatch): Parser {
  const program = new Parser('godwit')
  program
    .description('Moves running virtual machines between edge sites, without a centre.')
    .version(VERSION, '--version', 'show the version of this program')
    .helpCommand(false)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => io.out(text),
      // What it would say there is said once, by what catches its errors.
      writeErr: () => {},
      outputError: () => {},
    })
    .addHelpText(
      'after',
      `\nExit status:\n${EXIT_CODES.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}\n`).join('')}`,
    )
  for (const row of GLOBAL_OPTIONS) program.addOption(optionOf(row))
  guard(program)
  for (const command of COMMANDS) add(parentOf(program, command.name), command, dispatch)
  return program
}

/** `raft snapshot save` stands below `raft snapshot`, and that below `raft`. */
function parentOf(program: Parser, name: string): Parser {
  const words = name.split(' ').slice(0, -1)
  return words.reduce((parent, word, at) => {
    const there = parent.commands.find((each) => each.name() === word)
    if (there !== undefined) return there
    const path = words.slice(0, at + 1).join(' ')
    const made = parent
      .command(word)
      .description(NOUNS[path] ?? path)
      .helpCommand(false)
    guard(made)
    return made
  }, program)
}

function add(parent: Parser, command: Command, dispatch: Dispatch): void {
  const { about, aliases = [], arguments: words = [], examples, lists, name, options = [], summary } = command
  const parser = parent.command(name.split(' ').at(-1) ?? name)
  parser
    .aliases([...aliases])
    .summary(summary)
    .description(about === undefined ? summary : `${summary}.\n\n${about}`)
  for (const { name, optional, summary } of words) {
    parser.argument(optional === true ? `[${name}]` : `<${name}>`, summary)
  }
  for (const row of [...options, ...(lists === true ? LIST_OPTIONS : [])]) parser.addOption(optionOf(row))
  const width = Math.max(...examples.map(([line]) => line.length)) + 2
  const lines = examples.map(([line, does]) => `  godwit ${line.padEnd(width)}${does}\n`)
  parser.addHelpText('after', `\nExamples:\n${lines.join('')}`)
  parser.action(() => dispatch(command, parser))
  guard(parser)
}

function optionOf({ choices, flags, otherwise, repeat, summary }: OptionRow): Option {
  const option = new Option(flags, otherwise === undefined ? summary : `${summary} (default: ${otherwise})`)
  if (choices !== undefined) option.choices([...choices])
  if (repeat === true) {
    option.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value])
  }
  return option
}

/** What commander refuses becomes a failure of ours, with the choices there are. */
function guard(parser: Parser): void {
  parser.exitOverride((error) => {
    if (error.exitCode === 0) throw error
    const why = (error.message.split('\n')[0] ?? '').replace(/^error: /, '')
    const next = `${pathOf(parser)} --help`
    // Not with what was too much: it may be a secret that was put where all can see it.
    if (error.code === 'commander.excessArguments') {
      throw new GodwitError({ code: 'USAGE', why: why.replace(/ but got.*/s, ''), next })
    }
    if (error.code === 'commander.help')
      throw new GodwitError({ code: 'USAGE', why: `which of ${verbs(parser)}?`, next })
    if (error.code === 'commander.unknownCommand') unknown(parser, parser.args[0] ?? '')
    // Never with its value, for the same reason.
    const flag = /^unknown option '(--?[^'=]*)/.exec(why)?.[1]
    if (flag === undefined) throw new GodwitError({ code: 'USAGE', why, next })
    if (flag === '--token' && parser.name() === 'join') {
      throw new GodwitError({
        code: 'USAGE',
        why: 'a join token is never an argument, which everybody on the machine can see: standard input, --token-file or GODWIT_TOKEN',
        next,
      })
    }
    const known = parser.options.flatMap(({ long }) => (long === undefined || long === null ? [] : [long]))
    const near = /Did you mean (.*)\?/.exec(error.message)?.[1]
    const hint = near === undefined ? '' : `; did you mean ${near}?`
    throw new GodwitError({ code: 'USAGE', why: `unknown option ${flag}${hint} (${known.join(', ')})`, next })
  })
}

function unknown(parser: Parser, word: string): never {
  const known = parser.commands.flatMap((each) => [each.name(), ...each.aliases()])
  const near = nearest(word, known)
  const hint = near === undefined ? '' : `; did you mean ${near}?`
  const where = pathOf(parser)
  const why = `${where} has no command ${word.slice(0, 64)}${hint} (${verbs(parser)})`
  throw new GodwitError({
    code: 'USAGE',
    why,
    next: near === undefined ? `${where} --help` : `${where} ${near} --help`,
  })
}

const verbs = (parser: Parser): string => parser.commands.map((each) => each.name()).join(', ')

const pathOf = (parser: Parser): string =>
  parser.parent === null ? parser.name() : `${pathOf(parser.parent)} ${parser.name()}`

/** The known word that one slip of the fingers turns into what was typed, or that begins with it. */
function nearest(typed: string, known: readonly string[]): string | undefined {
  const slips = (word: string): Set<string> => {
    const made = new Set<string>([word])
    for (let at = 0; at <= word.length; at++) {
      made.add(word.slice(0, at) + word.slice(at + 1))
      made.add(word.slice(0, at) + (word[at + 1] ?? '') + (word[at] ?? '') + word.slice(at + 2))
    }
    return made
  }
  const mine = slips(typed.slice(0, 32).toLowerCase())
  const begun = known.find((word) => typed.length >= 2 && word.startsWith(typed))
  return begun ?? known.find((word) => [...slips(word)].some((slip) => mine.has(slip)))
}

function sessionOf(io: Io, command: Command, parser: Parser): Session {
  const values: Values = parser.optsWithGlobals()
  const words = Object.fromEntries(
    (command.arguments ?? []).map(({ name }, at) => [name, parser.processedArgs[at] as string | undefined]),
  )
  const named = [...CONFIG_KEYS.map(({ flag }) => flag), 'config']
  const flags: Flags = Object.fromEntries(named.map((flag) => [flag, values[camel(flag)]]))
  return new Session(io, words, values, flags, command.timeout ?? TIMEOUT)
}

const camel = (flag: string): string => flag.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())

/** `--json=1` names the schema that is wanted; there is one. */
function schemaless(argv: readonly string[]): string[] {
  return argv.map((word) => {
    const schema = /^--json=(.*)$/.exec(word)?.[1]
    if (schema === undefined) return word
    if (schema !== '1')
      throw new GodwitError({ code: 'USAGE', why: `no JSON schema ${schema.slice(0, 16)}; there is 1` })
    return '--json'
  })
}

const isJson = (format: string): boolean => format === 'json' || format === 'jsonl'

/** Before anything could be parsed. */
const wantsJson = (argv: readonly string[]): boolean =>
  argv.some(
    (word, at) =>
      /^(--json(=.*)?|(-o|--output=)jsonl?)$/.test(word) ||
      (/^(-o|--output)$/.test(word) && isJson(argv[at + 1] ?? '')),
  )
