/**
 * The nemesis: one row for each kind of fault, with how often it strikes a seed that has it and what it does. A row takes
 * dice of its own and says in a line what it did, or nothing when there was nothing to strike. Seeds are drawn in this order.
 */
import { DISKS } from './faults/disks.ts'
import type { Fault } from './faults/fault.ts'
import { GROUPS } from './faults/groups.ts'
import { CLOCKS, CRASHES, UPGRADES } from './faults/hosts.ts'
import { LINKS } from './faults/links.ts'

const rows = [...CRASHES, ...DISKS, ...CLOCKS, ...LINKS, ...GROUPS, ...UPGRADES] as const

export type FaultName = (typeof rows)[number]['name']
export const FAULTS: readonly (Fault & { readonly name: FaultName })[] = rows
