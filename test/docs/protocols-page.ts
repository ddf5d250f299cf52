/** docs/PROTOCOLS.md from the catalogue of conversations, and from the comments where their messages are declared. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Conversation, CONVERSATIONS } from '../../protocols/catalogue.ts'
import { FEATURE_LEVEL, FEATURES } from '../../protocols/features.ts'
import { headOf, inline, prose, recordRows, type Row, taggedRows } from './source.ts'

const root = join(import.meta.dirname, '../..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

/** What goes into logs, apart from the wire: the commands that groups agree on. */
const COMMANDS = { 'node/catalog/mesh.ts': 'The mesh group', 'node/catalog/site.ts': 'A site group' } as const

export function protocolsPage(): string {
  const spoken = CONVERSATIONS.filter(({ source }) => source !== undefined)
  const groups = Object.entries(COMMANDS).map(([file, title]) => {
    const source = read(file)
    // The first tagged shape of a catalog is its commands.
    const [commands = []] = taggedRows(source)
    return `### ${title}\n\n${prose(headOf(source))}\n\n${table('command', commands, () => '')}`
  })
  return `<!-- Printed from protocols/catalogue.ts, protocols/*/messages.ts and node/catalog/*.ts by \`npm run docs\`. Change it there. -->

# Protocols

What peers say to each other. Every message of ours is MessagePack of the fields named here and is checked against its
shape and its size before anything else sees it. A field that a peer does not know is dropped; a frame that is none costs
its sender (BAD_FRAMES_PER_MINUTE_MAX). Bounds by name are in [LIMITS.md](LIMITS.md).

On a stream each frame has its length before it, four bytes, big-endian. *frames*: one long-lived stream for each peer and
protocol, in order or not at all. *requests*: the same, with an id and one answer each. *channel*: long-lived, with back-pressure, on a socket or a
connection of its own. *topic*: gossip. *door*: a port of its own, see [decisions/](decisions/). *library*: spoken by a
package, on admitted peers' connections only.

| conversation | id on the wire | carried as | between | what for | frames, and the bytes of the largest |
|---|---|---|---|---|---|
${CONVERSATIONS.map(overview).join('\n')}

${spoken.map((each, index) => section(each, spoken.slice(0, index))).join('\n')}
## What groups agree on

The entries of their logs.

${groups.join('\n')}
## Features

${prose(headOf(read('protocols/features.ts')))}

Source: [protocols/features.ts](../protocols/features.ts). This version knows levels up to ${FEATURE_LEVEL}.

| level | feature | not there below it | until then |
|---|---|---|---|
${FEATURES.map(({ level, name, gates, until }) => `| ${level} | ${name} | ${gates} | ${until} |\n`).join('')}`
}

function overview({ name, id, over, between, what, frames, source }: Conversation): string {
  const title = source === undefined ? name : `[${name}](#${name})`
  const sizes = frames.map((frame) => `\`${frame.name}\` ${frame.bytesMax.toLocaleString('en')}`)
  return `| ${title} | \`${id}\` | ${over} | ${inline(between)} | ${inline(what)} | ${sizes.join(', ')} |`
}

function section({ name, frames, source: file = '' }: Conversation, before: readonly Conversation[]): string {
  const source = read(file)
  const told = before.find((each) => each.source === file)
  const about =
    told === undefined ? prose(headOf(source)) : `Beside [${told.name}](#${told.name}), in the same file.`
  const records = recordRows(source).filter((row) => frames.some((frame) => frame.name === row.name))
  const rows = [...records, ...taggedRows(source).flat()]
  const folder = file.split('/')[1] ?? ''
  return `## ${name}\n\n${about}\n\nSource: [${file}](../${file})\n\n${table('message', rows, (row) => held(folder, row))}`
}

/** Where the bytes of a message are held in place, when they are. */
function held(folder: string, { name }: Row): string {
  const file = [`${folder}-${name}`, name].find((each) =>
    existsSync(join(root, 'test/fixtures/frames', `${each}.hex`)),
  )
  return file === undefined ? '' : `[bytes](../test/fixtures/frames/${file}.hex)`
}

function table(what: string, rows: readonly Row[], bytes: (row: Row) => string): string {
  const withBytes = rows.some((row) => bytes(row) !== '')
  const lines = rows.map((row) => {
    const cells = [
      `\`${row.name}\``,
      row.fields.map((field) => `\`${field}\``).join(', '),
      inline(row.doc),
      ...(withBytes ? [bytes(row)] : []),
    ]
    return `| ${cells.join(' | ')} |\n`
  })
  const head = [what, 'fields', 'what it means', ...(withBytes ? ['held in place'] : [])]
  return `| ${head.join(' | ')} |\n|${'---|'.repeat(head.length)}\n${lines.join('')}`
}
