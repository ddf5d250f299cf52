/** Which items of a list are shown, in which order: filters, labels, sorting and pages. Pure. */
import { GodwitError } from '../../protocols/errors.ts'
import type { Cell, Column, View } from './columns/column.ts'
import { identity } from './columns/columns.ts'

export type Selection = {
  readonly filters: readonly string[]
  readonly labels: readonly string[]
  readonly sortBy: string | undefined
  readonly limit: number | undefined
  readonly pageToken: string | undefined
}

type Item = Readonly<Record<string, unknown>>
export type Page = { readonly items: readonly unknown[]; readonly nextPageToken: string | undefined }

const usage = (why: string): never => {
  throw new GodwitError({ code: 'USAGE', why })
}

/** @throws GodwitError USAGE for a key that there is not, with those there are. */
export function select(all: readonly unknown[], view: View, selection: Selection): Page {
  const { filters, labels, limit, pageToken, sortBy } = selection
  let items = all as readonly Item[]
  for (const filter of filters) items = items.filter(matcher(view, filter, items[0]))
  for (const label of labels) items = carrying(items, label)
  if (sortBy !== undefined) items = sorted(items, view, sortBy)
  if (pageToken !== undefined) {
    const at = items.findIndex((item) => tokenOf(view, item) === pageToken)
    if (at < 0) usage('--page-token: what it stood for is gone; list again from the beginning')
    items = items.slice(at + 1)
  }
  if (limit === undefined || items.length <= limit) return { items, nextPageToken: undefined }
  const page = items.slice(0, limit)
  return { items: page, nextPageToken: tokenOf(view, page.at(-1) as Item) }
}

/** The columns to show, by name, or the view's own. */
export function columnsOf(view: View, names: string | undefined, wide: boolean): readonly Column[] {
  if (names === undefined) return view.columns.filter((column) => wide || column.wide !== true)
  return names.split(',').map((name) => {
    const column = view.columns.find(({ key }) => key === name.trim().toLowerCase())
    return column ?? usage(`no column ${name}; there are ${keysOf(view).join(', ')}`)
  })
}

const keysOf = (view: View): string[] => view.columns.map(({ key }) => key)

/** A column's exact value, else a field of the item as in JSON. */
function reader(view: View, key: string, sample: Item | undefined): (item: Item) => Cell {
  const column = view.columns.find((each) => each.key === key)
  if (column !== undefined) return (item) => column.value(item as never)
  if (sample === undefined || Object.hasOwn(sample, key)) {
    return (item) => {
      const value = item[key]
      return typeof value === 'object' && value !== null ? JSON.stringify(value) : (value as Cell)
    }
  }
  return usage(`no column or field ${key}; there are ${keysOf(view).join(', ')}`)
}

function matcher(view: View, filter: string, sample: Item | undefined): (item: Item) => boolean {
  const [, key = '', not, wanted = ''] =
    /^([A-Za-z0-9-]+)(!)?=(.*)$/.exec(filter) ?? usage(`--filter ${filter}: write key=value`)
  const read = reader(view, key, sample)
  const values = new Set(wanted.split(','))
  return (item) => values.has(String(read(item))) === (not === undefined)
}

function carrying(items: readonly Item[], label: string): readonly Item[] {
  const at = label.indexOf('=')
  if (at < 1) usage(`--label ${label}: write label=value`)
  if (items.length > 0 && items.every((item) => item['labels'] === undefined)) {
    throw new GodwitError({ code: 'UNSUPPORTED', what: 'choosing these by label' })
  }
  const [key, wanted] = [label.slice(0, at), label.slice(at + 1)]
  return items.filter((item) => (item['labels'] as Item | undefined)?.[key] === wanted)
}

function sorted(items: readonly Item[], view: View, by: string): readonly Item[] {
  const down = by.startsWith('-')
  const read = reader(view, down ? by.slice(1) : by, items[0])
  const compare = (a: Item, b: Item): number => {
    const [x, y] = [read(a), read(b)]
    // What is not known comes last, whichever way the rest goes.
    if (x === null || y === null) return Number(x === null) - Number(y === null)
    const order = typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y))
    return down ? -order : order
  }
  return items.toSorted(compare)
}

const tokenOf = (view: View, item: Item): string => Buffer.from(identity(view, item)).toString('base64url')
