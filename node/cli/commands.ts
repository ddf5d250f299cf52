/** Every command of the CLI, in the order of help. */
import type { Command } from './command.ts'
import { IMAGE_COMMANDS } from './commands/image.ts'
import { IMAGE_PIN_COMMANDS } from './commands/image-pins.ts'
import { JOB_COMMANDS } from './commands/job.ts'
import { LOOK_COMMANDS } from './commands/look.ts'
import { MESH_COMMANDS } from './commands/mesh.ts'
import { LEAVE, PEER_COMMANDS } from './commands/peer.ts'
import { RAFT_COMMANDS } from './commands/raft.ts'
import { TOOL_COMMANDS } from './commands/tools.ts'
import { VM_COMMANDS } from './commands/vm.ts'

const named = (name: string): Command[] => TOOL_COMMANDS.filter((command) => command.name === name)

export const COMMANDS: readonly Command[] = [
  ...MESH_COMMANDS.slice(0, 2),
  ...named('up'),
  LEAVE,
  ...LOOK_COMMANDS,
  ...PEER_COMMANDS,
  ...RAFT_COMMANDS,
  ...VM_COMMANDS,
  ...IMAGE_COMMANDS,
  ...IMAGE_PIN_COMMANDS,
  ...JOB_COMMANDS,
  ...MESH_COMMANDS.slice(2),
  ...TOOL_COMMANDS.filter(({ name }) => name !== 'up'),
]

/** What the first word of commands of two is about. */
export const NOUNS: Readonly<Record<string, string>> = {
  peer: 'Peers of the mesh',
  site: 'Sites: peers that share a LAN',
  raft: 'Raft groups: who agrees with whom',
  'raft snapshot': 'What a group agrees on, as a file',
  vm: 'Virtual machines',
  image: 'Disk images',
  job: 'Long actions',
  token: 'Join tokens',
  config: 'Configuration of the peer',
}
