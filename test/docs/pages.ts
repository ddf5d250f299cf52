/** The pages that are printed from tables. Each is a function of the sources, so a stale page is found by printing it. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { METRICS } from '../../node/metrics.ts'
import { type Failure, RULES } from '../../protocols/errors.ts'
import * as limits from '../../protocols/limits.ts'
import { cliPage } from './cli-page.ts'
import { constantsOf, headOf, inline, prose, recordRows, type Row, taggedRows } from './source.ts'

const root = join(import.meta.dirname, '../..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

export const PAGES: Readonly<Record<string, () => string>> = {
  'docs/CLI.md': cliPage,
  'docs/ERRORS.md': errorsPage,
  'docs/LIMITS.md': limitsPage,
  'docs/METRICS.md': metricsPage,
  'docs/PROTOCOLS.md': protocolsPage,
}

export const printed = (source: string): string =>
  `<!-- Printed from ${source} by \`npm run docs\`. Change it there. -->\n`

/** A value of every field of a failure that reads as the field's name. */
const placeholder = new Proxy<object>(
  {},
  {
    get: (_, field) => {
      if (field === 'choices') return ['<choice>', '…']
      if (field === 'reasons') return [{ host: '<host>', why: '<why>' }]
      return `<${String(field)}>`
    },
  },
) as Failure

type Say = (failure: Failure) => string | undefined

function errorsPage(): string {
  const rows = Object.entries(RULES).map(([code, rule]) => {
    const { say, next } = rule as unknown as { readonly say: Say; readonly next?: Say }
    const cells = [
      `\`${code}\``,
      rule.exit,
      rule.retry ? 'yes' : 'no',
      inline(say(placeholder) ?? ''),
      inline(next?.(placeholder) ?? ''),
    ]
    return `| ${cells.join(' | ')} |`
  })
  return `${printed('protocols/errors.ts')}
# Errors

Every way an operation can fail on purpose. \`exit\` is the status with which the command line ends; \`retry\` says whether
the same request may succeed later without anyone changing anything.

| code | exit | retry | what it says | next |
|---|---|---|---|---|
${rows.join('\n')}
`
}

function limitsPage(): string {
  const values = limits as Readonly<Record<string, unknown>>
  let section = ''
  let text = ''
  for (const constant of constantsOf(read('protocols/limits.ts'))) {
    if (constant.section !== section) {
      section = constant.section
      text += `\n## ${section}\n\n| bound | value | why |\n|---|---|---|\n`
    }
    const value = values[constant.name]
    text += `| \`${constant.name}\` | ${typeof value === 'number' ? value.toLocaleString('en') : inline(String(value))} | ${inline(constant.doc)} |\n`
  }
  return `${printed('protocols/limits.ts')}
# Limits

Every bound, with its reason. Bytes and milliseconds where a name says so, else a count.
${text}`
}

function metricsPage(): string {
  const rows = Object.entries(METRICS).map(([name, { type, labels, help }]) => {
    const names = labels.map((label) => `\`${label}\``).join(', ')
    return `| \`${name}\` | ${type} | ${names} | ${inline(help)} |`
  })
  return `${printed('node/metrics.ts')}
# Metrics

What \`/metrics\` of a peer's status endpoint serves.

| metric | type | labels | what it is |
|---|---|---|---|
${rows.join('\n')}
`
}

/** What goes into logs, apart from the wire: the commands that groups agree on. */
const COMMANDS = { 'node/catalog/mesh.ts': 'The mesh group', 'node/catalog/site.ts': 'A site group' } as const

function protocolsPage(): string {
  const conversations = globSync('protocols/*/messages.ts', { cwd: root }).sort().map(conversation)
  const groups = Object.entries(COMMANDS).map(([file, title]) => {
    const source = read(file)
    // The first tagged shape of a catalog is its commands.
    const [commands = []] = taggedRows(source)
    return `### ${title}\n\n${prose(headOf(source))}\n\n${table('command', commands)}`
  })
  return `${printed('protocols/*/messages.ts and node/catalog/*.ts')}
# Protocols

What peers say to each other, conversation by conversation. Every message is MessagePack of the fields named here and is
checked against its shape and its size before anything else sees it; test/fixtures/frames holds the bytes of each in
place. A field that a peer does not know is dropped.

${conversations.join('\n')}
## What groups agree on

The entries of their logs.

${groups.join('\n')}`
}

function conversation(file: string): string {
  const source = read(file)
  const ids = constantsOf(source).filter(({ value }) => value.startsWith("'/godwit/"))
  const names = ids.map(({ value }) => `\`${value.slice(1, -1)}\``)
  const codecs = [
    ...source.matchAll(
      /\bcodec\(\s*'([^']+)',[\s\S]*?(?:\b([A-Z_]+_BYTES_MAX|FRAME_MAX|LIST_BYTES_MAX)\b,?\s*)?\)\n/g,
    ),
  ]
  const sizes = codecs.map(([, name, max]) => `\`${name}\` (${max ?? 'MESSAGE_BYTES_MAX'})`)
  const title = file.split('/')[1] ?? file
  const rows = [...recordRows(source), ...taggedRows(source).flat()]
  return (
    `## ${title}\n\n${prose(headOf(source))}\n\n` +
    `${names.length > 0 ? `Protocol: ${names.join(', ')}. ` : ''}Frames: ${sizes.join(', ')}. Source: \`${file}\`.\n\n` +
    (rows.length > 0 ? `${table('message', rows)}\n` : '')
  )
}

function table(what: string, rows: readonly Row[]): string {
  const lines = rows.map(
    ({ name, doc, fields }) =>
      `| \`${name}\` | ${fields.map((field) => `\`${field}\``).join(', ')} | ${inline(doc)} |\n`,
  )
  return `| ${what} | fields | what it means |\n|---|---|---|\n${lines.join('')}`
}
