/** The table of commands as data (`godwit help --json`) and as text (docs/CLI.md). */
import { RULES } from '../../protocols/errors.ts'
import { CONFIG_KEYS } from '../config-keys.ts'
import { type Command, EXIT_CODES, GLOBAL_OPTIONS, LIST_OPTIONS, type OptionRow } from './command.ts'
import { COMMANDS, NOUNS } from './commands.ts'
import { CONFIG_OPTIONS } from './config-options.ts'

/** Everything that can be typed. Its fields keep their meaning within a schema version. */
export function commandTree(): object {
  return {
    schema: 1,
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
      changes: 'method' in command ? command.method : null,
    })),
  }
}

export function printCliDocs(): string {
  const lines = [
    '# The command line',
    '',
    '<!-- Printed by npm run docs from node/cli/commands/. -->',
    '',
    'Commands talk to the peer on this machine over its control socket. Standard output is data, everything else is on',
    'standard error. Names are accepted wherever an id is: `web`, `hill/web`, or the unique beginning of an id.',
    '',
    '## On every command',
    '',
    ...optionTable(GLOBAL_OPTIONS),
    '',
    '## On every command that lists',
    '',
    ...optionTable(LIST_OPTIONS),
    '',
    '## Exit status',
    '',
    '| status | meaning |',
    '| --- | --- |',
    ...EXIT_CODES.map(([code, meaning]) => `| ${code} | ${meaning} |`),
    '',
    `With \`-o json\` a failure is one line on standard error: \`{schema, kind: "error", code, exit, message, peer, next, details}\`.`,
    `\`code\` is one of ${Object.keys(RULES)
      .map((code) => `\`${code}\``)
      .join(', ')}.`,
    '',
    '## Configuration',
    '',
    'A flag of `init`, `join` and `up` wins over the variable, the variable over the file, the file over the default.',
    'The file is YAML: `--config`, `GODWIT_CONFIG`, else `/etc/godwit/config.yaml` for root and',
    '`~/.config/godwit/config.yaml` for others. `godwit config show --origin` says where each value came from.',
    '',
    '| key | flag | variable | what it is | default |',
    '| --- | --- | --- | --- | --- |',
    ...CONFIG_KEYS.map(
      ({ env, flag, key, otherwise, summary }) =>
        `| \`${key}\` | \`--${flag}\` | \`${env}\` | ${cell(summary)} | ${cell(otherwise)} |`,
    ),
    '',
    ...COMMANDS.flatMap(section),
  ]
  return `${lines.join('\n').trimEnd()}\n`
}

function section(command: Command, at: number): string[] {
  const { about, aliases = [], arguments: words = [], examples, name, summary, timeout } = command
  const [noun = '', verb] = name.split(' ')
  const first = verb !== undefined && COMMANDS[at - 1]?.name.split(' ')[0] !== noun
  const own = (command.options ?? []).filter((row) => !CONFIG_OPTIONS.includes(row))
  const configured = (command.options ?? []).some((row) => CONFIG_OPTIONS.includes(row))
  return [
    ...(first ? [`## ${NOUNS[noun] ?? noun}`, ''] : []),
    `### godwit ${name}`,
    '',
    `${summary}.${about === undefined ? '' : ` ${about}`}`,
    '',
    '```',
    synopsis(command),
    '```',
    '',
    ...(aliases.length === 0 ? [] : [`Also: ${aliases.map((alias) => `\`${alias}\``).join(', ')}.`, '']),
    ...words.map(({ name, summary }) => `- \`${name}\`: ${summary}`),
    ...(words.length === 0 ? [] : ['']),
    ...(own.length === 0 ? [] : [...optionTable(own), '']),
    ...(configured ? ['Takes a flag for each key of the configuration.', ''] : []),
    ...(timeout === undefined ? [] : [`Waits at most ${timeout}, unless \`--timeout\` says otherwise.`, '']),
    '```sh',
    ...examples.map(([line, does]) => `godwit ${line}  # ${does}`),
    '```',
    '',
  ]
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

const cell = (text: string): string => text.replaceAll('|', '\\|')

const optionTable = (rows: readonly OptionRow[]): string[] => [
  '| option | what it does |',
  '| --- | --- |',
  ...rows.map(
    ({ choices, flags, otherwise, summary }) =>
      `| \`${flags}\` | ${cell(summary)}${choices === undefined ? '' : `; ${choices.join(', ')}`}${otherwise === undefined ? '' : ` (${otherwise})`} |`,
  ),
]
