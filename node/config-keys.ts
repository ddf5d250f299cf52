/**
 * The configuration's keys, one row each: where a value may come from, and what it is when nobody says. Flags, help,
 * `config show` and docs are printed from here; what a value must look like stands in config.ts. Without packages,
 * because every command of the CLI reads this at its start.
 */
import { join } from 'node:path'

export type ConfigKey = {
  /** As in the file; a dot for each level. */
  readonly key: string
  readonly env: string
  /** Without its dashes. */
  readonly flag: string
  /** How a flag's or a variable's text becomes a value; a list is separated by commas. */
  readonly kind: 'text' | 'path' | 'list' | 'number' | 'boolean' | 'labels' | 'limits'
  readonly summary: string
  /** The default, for people. */
  readonly otherwise: string
}

export const CONFIG_KEYS = [
  {
    key: 'dataDir',
    env: 'GODWIT_DATA_DIR',
    flag: 'data-dir',
    kind: 'path',
    summary: 'folder of everything this peer keeps',
    otherwise: '/var/lib/godwit for root, ~/.local/share/godwit for others',
  },
  {
    key: 'markDir',
    env: 'GODWIT_MARK_DIR',
    flag: 'mark-dir',
    kind: 'path',
    summary: 'folder, outside dataDir and its backups, of the mark by which an old dataDir is found out',
    otherwise: '/var/lib/godwit-marks for root, ~/.local/state/godwit/marks for others',
  },
  {
    key: 'socket',
    env: 'GODWIT_SOCKET',
    flag: 'socket',
    kind: 'path',
    summary: 'Unix socket on which the peer takes commands',
    otherwise: 'control.sock in dataDir',
  },
  {
    key: 'name',
    env: 'GODWIT_NAME',
    flag: 'name',
    kind: 'text',
    summary: 'name of this peer',
    otherwise: 'the host name, as a DNS label',
  },
  {
    key: 'listen',
    env: 'GODWIT_LISTEN',
    flag: 'listen',
    kind: 'list',
    summary: 'multiaddrs to listen on for peers',
    otherwise: '/ip4/0.0.0.0/tcp/4710',
  },
  {
    key: 'announce',
    env: 'GODWIT_ANNOUNCE',
    flag: 'announce',
    kind: 'list',
    summary: 'multiaddrs to tell other peers instead of the ones listened on',
    otherwise: 'none',
  },
  {
    key: 'joinListen',
    env: 'GODWIT_JOIN_LISTEN',
    flag: 'join-listen',
    kind: 'list',
    summary: 'multiaddrs on which newcomers are heard until the last token expires',
    otherwise: 'listen, one port higher',
  },
  {
    key: 'bulkListen',
    env: 'GODWIT_BULK_LISTEN',
    flag: 'bulk-listen',
    kind: 'list',
    summary:
      'multiaddrs on which peers are met for bulk bytes, or off; a port that is in use gives way to a free one',
    otherwise: 'listen, two ports higher',
  },
  {
    key: 'mdns',
    env: 'GODWIT_MDNS',
    flag: 'mdns',
    kind: 'boolean',
    summary: 'find peers on the LAN by multicast DNS',
    otherwise: 'true',
  },
  {
    key: 'http.listen',
    env: 'GODWIT_HTTP_LISTEN',
    flag: 'http',
    kind: 'text',
    summary: 'address:port of the status endpoint, or off',
    otherwise: '127.0.0.1:4780',
  },
  {
    key: 'capacity.cpus',
    env: 'GODWIT_CAPACITY_CPUS',
    flag: 'cpus',
    kind: 'number',
    summary: 'virtual CPUs that may be committed to VMs',
    otherwise: "the host's",
  },
  {
    key: 'capacity.memoryMiB',
    env: 'GODWIT_CAPACITY_MEMORY_MIB',
    flag: 'memory-mib',
    kind: 'number',
    summary: 'memory that may be committed to VMs, in MiB',
    otherwise: "the host's",
  },
  {
    key: 'capacity.diskGiB',
    env: 'GODWIT_CAPACITY_DISK_GIB',
    flag: 'disk-gib',
    kind: 'number',
    summary: 'disk that may be committed to VMs, in GiB',
    otherwise: 'the file system that dataDir is on',
  },
  {
    key: 'store.quota',
    env: 'GODWIT_STORE_QUOTA',
    flag: 'store-quota',
    kind: 'text',
    summary:
      'what images and kept copies of moved VMs may take: 200GiB, a part of the disk such as 80%, or off; 2 % of the disk stay free all the same',
    otherwise: '80%',
  },
  {
    key: 'store.keyFiles',
    env: 'GODWIT_STORE_KEY_FILES',
    flag: 'store-key-file',
    kind: 'list',
    summary:
      'files of 32 secret bytes: chunks are stored encrypted under the first, and read under any; plain in its place: no longer encrypted',
    otherwise: 'none: chunks are stored as they are',
  },
  {
    key: 'store.level',
    env: 'GODWIT_STORE_LEVEL',
    flag: 'store-level',
    kind: 'number',
    summary:
      'zstd level, 1 to 19, of what is imported: 1 takes less CPU, 9 and more take much for a few percent',
    otherwise: '3',
  },
  {
    key: 'labels',
    env: 'GODWIT_LABELS',
    flag: 'label',
    kind: 'labels',
    summary: 'labels of this host that a VM may ask for, key=value',
    otherwise: 'none',
  },
  {
    key: 'raft.vote',
    env: 'GODWIT_RAFT_VOTE',
    flag: 'raft-vote',
    kind: 'boolean',
    summary: 'whether this peer may become a voter of a group',
    otherwise: 'true',
  },
  {
    key: 'raft.uplink',
    env: 'GODWIT_RAFT_UPLINK',
    flag: 'raft-uplink',
    kind: 'text',
    summary: 'name of the line this host depends on; no majority of voters sits behind one',
    otherwise: "its site's own",
  },
  {
    key: 'torrent.listen',
    env: 'GODWIT_TORRENT_LISTEN',
    flag: 'torrent-listen',
    kind: 'text',
    summary: 'address:port on which published images are served to BitTorrent clients, or off',
    otherwise: 'off: image publish has to name one',
  },
  {
    key: 'transfer.limits',
    env: 'GODWIT_BWLIMIT',
    flag: 'bwlimit',
    kind: 'limits',
    summary:
      'how fast bulk may go: in the file a list of {rate or up and down, to, from, until, days}; as text a rate, to and from other sites',
    otherwise: 'as fast as it goes, behind everything else',
  },
  {
    key: 'transfer.timeZone',
    env: 'GODWIT_TIME_ZONE',
    flag: 'time-zone',
    kind: 'text',
    summary: 'whose clock the times in transfer.limits are of, as Europe/Berlin',
    otherwise: "this host's",
  },
  {
    key: 'driver',
    env: 'GODWIT_DRIVER',
    flag: 'driver',
    kind: 'text',
    summary: 'what runs guests: auto, kvm, tcg or none',
    otherwise: 'auto: KVM when a probe shows that guests run under it, else TCG',
  },
  {
    key: 'log.level',
    env: 'GODWIT_LOG_LEVEL',
    flag: 'log-level',
    kind: 'text',
    summary: 'debug, info, warn or error',
    otherwise: 'info',
  },
] as const satisfies readonly ConfigKey[]

export type Key = (typeof CONFIG_KEYS)[number]['key']
/** What was typed: by a flag's name, texts, or the values of a flag that was given more than once. */
export type Flags = Readonly<Record<string, string | readonly string[] | boolean | undefined>>
export type Environment = Readonly<Record<string, string | undefined>>

/** Folders as they are for this user. Root's are the machine's. */
export function defaultDataDir(env: Environment, root: boolean): string {
  if (root) return '/var/lib/godwit'
  return join(env['XDG_DATA_HOME'] ?? join(home(env), '.local', 'share'), 'godwit')
}

/** State of this machine: not what a data folder is backed up and moved with. */
export function defaultMarkDir(env: Environment, root: boolean): string {
  if (root) return '/var/lib/godwit-marks'
  return join(env['XDG_STATE_HOME'] ?? join(home(env), '.local', 'state'), 'godwit', 'marks')
}

/** The file that is read when none is named, if it is there. */
export function defaultConfigFile(env: Environment, root: boolean): string {
  if (root) return '/etc/godwit/config.yaml'
  return join(env['XDG_CONFIG_HOME'] ?? join(home(env), '.config'), 'godwit', 'config.yaml')
}

export const SOCKET_NAME = 'control.sock'

/** main.ts sees to it that HOME is set. */
const home = (env: Environment): string => env['HOME'] ?? '/'
