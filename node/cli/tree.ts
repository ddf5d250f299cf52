/** The table of commands as data, for `godwit help --json` and for programs that write docs or completions from it. */
import { SCHEMA } from '../control/envelope.ts'
import { type Command, EXIT_CODES, GLOBAL_OPTIONS, LIST_OPTIONS, type OptionRow } from './command.ts'
import { COMMANDS } from './commands.ts'

/** Everything that can be typed. Its fields keep their meaning within a schema version. */
export function commandTree(): object {
  return {
    schema: SCHEMA,
    kind: 'command-tree',
    options: GLOBAL_OPTIONS.map(described),
    exitCodes: EXIT_CODES.map(([code, meaning]) => ({ code, meaning })),
    commands: COMMANDS.map((command) => ({
      name: command.name,
      aliases: command.aliases ?? [],
      summary: command.summary,
      about: command.about ?? '',
      synopsis: synopsis(command),
      arguments: (command.arguments ?? []).map(({ name, optional, summary }) => ({
        name,
        summary,
        optional: optional ?? false,
      })),
      options: optionsOf(command).map(described),
      examples: command.examples.map(([line, does]) => ({ line: `godwit ${line}`, does })),
      timeout: command.timeout ?? null,
    })),
  }
}

function synopsis(command: Command): string {
  const words = (command.arguments ?? []).map(({ name, optional }) =>
    optional === true ? `[${name}]` : `<${name}>`,
  )
  const options = optionsOf(command).length > 0 ? ['[options]'] : []
  return ['godwit', command.name, ...options, ...words].join(' ')
}

const optionsOf = ({ lists, options = [] }: Command): readonly OptionRow[] =>
  lists === true ? [...options, ...LIST_OPTIONS] : options

const described = ({ choices, flags, otherwise, repeat, summary }: OptionRow): object => ({
  flags,
  summary,
  choices: choices ?? null,
  default: otherwise ?? null,
  repeat: repeat ?? false,
})
