/**
 * Completion for shells, over @bomb.sh/tab. Commands and options come from the table, names from the file that the peer
 * keeps fresh; when there is none, silence: nobody's Tab key should wait for a peer.
 */
import { readdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import tab, { type ArgumentHandler, type Complete, type OptionHandler } from '@bomb.sh/tab'
import { type Names, readNames } from '../control/names-file.ts'
import {
  type ArgumentRow,
  type Command,
  GLOBAL_OPTIONS,
  type Io,
  LIST_OPTIONS,
  type OptionRow,
} from './command.ts'
import { COMMANDS, NOUNS } from './commands.ts'
import { locate } from './locate.ts'

/** Prints the script that asks `godwit complete` at each Tab. */
export const printScript = (shell: 'bash' | 'zsh' | 'fish'): void => tab.setup('godwit', 'godwit', shell)

/** Answers a script: `-- words…`, of which the last is being typed. */
export async function complete(argv: readonly string[], io: Io): Promise<void> {
  const words = argv[0] === '--' ? argv.slice(1) : argv
  const names = await namesFor(words, io)
  const typed = words.at(-1) ?? ''
  // tab finds a command of two words only below one of the first.
  for (const [noun, about] of Object.entries(NOUNS)) tab.command(noun, about)
  for (const command of COMMANDS) {
    for (const name of [command.name, ...aliasesOf(command)]) describe(name, command, names, typed, io)
  }
  // tab changes its argument.
  tab.parse([...words])
}

function describe(name: string, command: Command, names: Names | undefined, typed: string, io: Io): void {
  const made = tab.command(name, command.summary)
  const offer =
    (what: ArgumentRow['complete']) =>
    (complete: Complete): void => {
      for (const each of offered(what, names, typed, io)) complete(each, '')
    }
  for (const { complete, name } of command.arguments ?? []) {
    made.argument(name, offer(complete) satisfies ArgumentHandler)
  }
  for (const row of [
    ...(command.options ?? []),
    ...(command.lists === true ? LIST_OPTIONS : []),
    ...GLOBAL_OPTIONS,
  ]) {
    const { long, short, takesValue } = parts(row)
    if (!takesValue) made.option(long, row.summary, short)
    else made.option(long, row.summary, offer(row.choices ?? row.complete) satisfies OptionHandler, short)
  }
}

function offered(
  what: ArgumentRow['complete'],
  names: Names | undefined,
  typed: string,
  io: Io,
): readonly string[] {
  if (what === undefined) return []
  if (what === 'path') return paths(typed.replace(/^--?[^=]*=/, ''), io)
  if (what === 'target') return [...(names?.site ?? []), ...(names?.peer ?? []), 'auto']
  if (typeof what === 'string') return names?.[what] ?? []
  return what
}

function paths(typed: string, io: Io): string[] {
  const folder = typed.endsWith('/') ? typed : dirname(typed)
  const shown = typed.includes('/') ? folder : ''
  try {
    return readdirSync(resolve(io.cwd, folder), { withFileTypes: true })
      .slice(0, 1_000)
      .map((entry) => join(shown, entry.name) + (entry.isDirectory() ? '/' : ''))
  } catch {
    return []
  }
}

/** The data folder that the typed words, the environment or the defaults name. */
async function namesFor(words: readonly string[], io: Io): Promise<Names | undefined> {
  const after = (flag: string): string | undefined => {
    const at = words.findIndex((word) => word === `--${flag}` || word.startsWith(`--${flag}=`))
    const word = words[at]
    return word?.includes('=') === true ? word.slice(word.indexOf('=') + 1) : words[at + 1]
  }
  const flag = (name: string): Record<string, string> => {
    const given = words.some((word) => word.startsWith(`--${name}`)) ? after(name) : undefined
    return given === undefined ? {} : { [name]: given }
  }
  try {
    const { dataDir } = await locate({ ...flag('config'), ...flag('data-dir'), ...flag('socket') }, io)
    return readNames(dataDir)
  } catch {
    return undefined
  }
}

const aliasesOf = ({ aliases = [], name }: Command): string[] =>
  aliases.map((alias) => [...name.split(' ').slice(0, -1), alias].join(' '))

function parts({ flags }: OptionRow): { long: string; short: string | undefined; takesValue: boolean } {
  const long = /--([a-z-]+)/.exec(flags)?.[1] ?? flags
  return { long, short: /^-([a-zA-Z]),/.exec(flags)?.[1], takesValue: flags.includes('<') }
}
