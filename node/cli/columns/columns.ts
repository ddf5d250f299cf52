/**
 * How each kind of answer looks as a table: its columns, in order, with the exact value (csv, sorting, filters) and the
 * text for people. Schemas are views.ts's; this is only their face.
 */
import type { View } from './column.ts'
import { GROUPS } from './groups.ts'
import { IMAGES } from './images.ts'
import { PEERS } from './peers.ts'
import { VMS } from './vms.ts'
import { WORK } from './work.ts'

/** By kind, as in an envelope. */
export const VIEWS: Readonly<Record<string, View>> = { ...VMS, ...PEERS, ...GROUPS, ...WORK, ...IMAGES }

/** What tells an item of a list from the others. */
export const identity = (view: View, item: unknown): string =>
  (item as { id?: string }).id ?? view.name(item as never)
