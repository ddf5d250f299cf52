/** docs/CLI.md from the tables of commands, options and configuration keys. */
import {
  type Command,
  EXIT_CODES,
  GLOBAL_OPTIONS,
  LIST_OPTIONS,
  type OptionRow,
} from '../../node/cli/command.ts'
import { COMMANDS, NOUNS } from '../../node/cli/commands.ts'
import { CONFIG_KEYS } from '../../node/config-keys.ts'
import { inline } from './source.ts'

export function cliPage(): string {
  return `<!-- Printed from node/cli/commands.ts and node/config-keys.ts by \`npm run docs\`. Change it there. -->

# The command line

    godwit COMMAND [ARGUMENTS] [OPTIONS]

Names are accepted wherever an id is, as \`name\` or \`site/name\`. Standard output holds data only; progress and hints go to
standard error.

## Commands

${COMMANDS.map((command) => `- [\`godwit ${command.name}\`](#godwit-${command.name.replaceAll(' ', '-')}): ${command.summary}`).join('\n')}

${COMMANDS.map(section).join('\n')}
## Options of every command

${options(GLOBAL_OPTIONS)}
## Options of every list

${options(LIST_OPTIONS)}
## How it ends

| exit status | meaning |
|---|---|
${EXIT_CODES.map(([code, meaning]) => `| ${code} | ${meaning} |`).join('\n')}

## Configuration

A flag stands before a variable of the environment, that before the file, and that before the default.

| key | variable | flag | what it is | default |
|---|---|---|---|---|
${CONFIG_KEYS.map(({ key, env, flag, summary, otherwise }) => `| \`${key}\` | \`${env}\` | \`--${flag}\` | ${inline(summary)} | ${inline(otherwise)} |`).join('\n')}
`
}

function section(command: Command): string {
  const words = (command.arguments ?? []).map(({ name, optional }) => (optional ? `[${name}]` : `<${name}>`))
  const noun = command.name.split(' ')[0] ?? ''
  const about = [
    command.about,
    command.aliases?.length ? `Also: ${command.aliases.map((alias) => `\`${alias}\``).join(', ')}.` : '',
  ]
  const waits =
    command.timeout === undefined ? '' : `Waits ${command.timeout} unless \`--timeout\` says otherwise.`
  const parts = [
    `### godwit ${command.name}`,
    `    ${['godwit', command.name, ...words].join(' ')}`,
    `${command.summary}.${command.lists ? ` A list of: ${NOUNS[noun]?.toLowerCase() ?? noun}.` : ''}`,
    [...about, waits].filter(Boolean).join(' '),
    (command.arguments ?? []).map(({ name, summary }) => `- \`${name}\`: ${summary}`).join('\n'),
    command.options === undefined || command.options.length === 0 ? '' : options(command.options).trimEnd(),
    command.examples
      .map(([line, does]) => `    godwit ${line}${' '.repeat(Math.max(1, 60 - line.length))}# ${does}`)
      .join('\n'),
  ]
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`
}

function options(rows: readonly OptionRow[]): string {
  const lines = rows.map(({ flags, summary, choices, otherwise, repeat }) => {
    const more = [
      choices === undefined ? '' : `one of ${choices.join(', ')}`,
      otherwise === undefined ? '' : `${otherwise} unless told`,
      repeat ? 'may be given more than once' : '',
    ].filter(Boolean)
    return `| \`${flags.replaceAll('|', '\\|')}\` | ${inline([summary, ...more].join('; '))} |\n`
  })
  return `| option | what it does |\n|---|---|\n${lines.join('')}`
}
