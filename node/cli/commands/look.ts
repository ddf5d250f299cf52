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
    name: 'peer list',
    aliases: ['ls'],
    summary: 'List the peers of the mesh; * is the one that answers',
    examples: [
      ['peer list', 'all peers'],
      ['peer list -o wide --sort-by -rtt', 'with addresses, the farthest first'],
      ['peer list --filter site=harbour -o name', 'names of the peers of one site'],
    ],
    lists: true,
    timeout: '10s',
    method: 'peer.list',
  },
  {
    name: 'peer show',
    summary: 'Show one peer',
    arguments: [{ name: 'peer', summary: 'name, site/name or id', complete: 'peer' }],
    examples: [['peer show crane', 'all that is known of it, and how old that is']],
    timeout: '10s',
    method: 'peer.show',
    params: ({ peer }) => ({ name: peer }),
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
  {
    name: 'raft list',
    aliases: ['ls'],
    summary: 'List the Raft groups that this peer is in',
    examples: [['raft list -o wide', 'role, term, leader, members and positions in the log']],
    lists: true,
    timeout: '10s',
    method: 'raft.list',
  },
]
