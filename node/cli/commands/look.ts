/** Commands that only look at the mesh. */
import type { Command } from '../command.ts'

export const LOOK_COMMANDS: readonly Command[] = [
  {
    name: 'status',
    summary: 'Show how this peer and its mesh are',
    examples: [
      ['status', 'for people'],
      ['status -o json', 'for programs'],
    ],
    timeout: '10s',
    method: 'status',
  },
  {
    name: 'site list',
    aliases: ['ls'],
    summary: 'List the sites of the mesh; * is the own one',
    examples: [
      ['site list', 'peers, VMs and memory of each'],
      ['site list -o json', 'for programs'],
    ],
    lists: true,
    timeout: '10s',
    method: 'site.list',
  },
]
