/** An envelope as text: tables for people, everything else for programs. Tables and YAML load their package when asked. */
import { styleText } from 'node:util'
import type { Envelope } from '../control/envelope.ts'
import type { Cell, Column, View } from './columns/column.ts'
import { VIEWS } from './columns/columns.ts'
import { clean } from './human.ts'
import { columnsOf } from './select.ts'

const FORMATS = ['table', 'wide', 'json', 'jsonl', 'yaml', 'csv', 'name'] as const
export type Format = (typeof FORMATS)[number]

export type Output = {
  readonly format: Format
  readonly header: boolean
  readonly colour: boolean
  readonly columns: string | undefined
  readonly nowMs: number
}

/** Undefined for what is no format. */
export function parseFormat(text: string): { format: Format; header: boolean } | undefined {
  const [name, suffix, ...rest] = text.split(',')
  const format = FORMATS.find((each) => each === name)
  if (format === undefined || rest.length > 0 || (suffix !== undefined && suffix !== 'noheader'))
    return undefined
  return { format, header: suffix === undefined }
}

export const formatNames = FORMATS.join(', ')

/** Ends with a newline, or is empty. */
export async function render(envelope: Envelope, output: Output): Promise<string> {
  const { format, header, columns: names } = output
  const { item, items, kind } = envelope
  const all = items ?? [item]
  switch (format) {
    case 'json':
      return `${JSON.stringify(envelope, null, 2)}\n`
    case 'jsonl':
      return all.map((each) => `${JSON.stringify(each)}\n`).join('')
    case 'yaml': {
      const { stringify } = await import('yaml')
      return stringify(envelope)
    }
    case 'name':
      return all.map((each) => `${clean(viewOf(kind).name(each as never))}\n`).join('')
    case 'csv': {
      const columns = columnsOf(viewOf(kind), names, true)
      const titles = header ? [columns.map(({ key }) => key)] : []
      const rows = all.map((each) => columns.map(({ value }) => value(each as never)))
      return [...titles, ...rows].map((cells) => `${cells.map(csvCell).join(',')}\r\n`).join('')
    }
    case 'table':
    case 'wide': {
      const columns = columnsOf(
        viewOf(kind),
        names,
        format === 'wide' || (items === undefined && names === undefined),
      )
      if (items !== undefined) return table(items, columns, output)
      const { more } = viewOf(kind)
      return pairs(item, columns, output) + (more === undefined ? '' : await block(more(item as never)))
    }
    default:
      return format satisfies never
  }
}

async function block(value: object): Promise<string> {
  const { stringify } = await import('yaml')
  return clean(stringify(value))
}

const viewOf = (kind: string): View => VIEWS[kind] ?? { columns: [], name: String }

/** RFC 4180: quoted when it must be, quotes doubled. */
function csvCell(value: Cell): string {
  const text = value === null ? '' : clean(String(value))
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

async function table(items: readonly unknown[], columns: readonly Column[], output: Output): Promise<string> {
  const { default: Table } = await import('cli-table3')
  const none = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '' }
  const chars = {
    ...none,
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
  }
  const made = new Table({
    chars: { ...chars, right: '', 'right-mid': '', middle: '   ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: columns.map(({ right }) => (right === true ? 'right' : 'left')),
  })
  if (output.header) made.push(columns.map(({ key }) => key.toUpperCase().replaceAll('-', ' ')))
  for (const item of items) made.push(columns.map((column) => cell(column, item, output)))
  return made.length === 0 ? '' : `${made.toString().replaceAll(/[ \t]+$/gm, '')}\n`
}

/** One thing: a line for each of its columns. */
function pairs(item: unknown, columns: readonly Column[], output: Output): string {
  const width = Math.max(0, ...columns.map(({ key }) => key.length)) + 1
  return columns
    .map((column) => {
      const title = `${column.key.replaceAll('-', ' ')}:`
      return `${title.padEnd(width + 2)}${cell(column, item, output) || '-'}\n`
    })
    .join('')
}

function cell({ key, text, value }: Column, item: unknown, { colour, nowMs }: Output): string {
  const exact = value(item as never)
  const plain = text === undefined ? (exact === null ? '-' : String(exact)) : text(item as never, nowMs)
  // One line each: a reason with a line break would tear the table.
  const said = clean(plain).replaceAll(/\s*\n\s*/g, ' ')
  const mood = colour && key === 'state' ? MOODS[String(exact)] : undefined
  return mood === undefined ? said : styleText(mood, said, { validateStream: false })
}

const MOODS: Readonly<Record<string, 'green' | 'yellow' | 'red'>> = {
  running: 'green',
  alive: 'green',
  done: 'green',
  open: 'green',
  paused: 'yellow',
  suspect: 'yellow',
  starting: 'yellow',
  stopping: 'yellow',
  moving: 'yellow',
  fetching: 'yellow',
  unreachable: 'red',
  lost: 'red',
  failed: 'red',
}
