/** Sockets of this process as the kernel has them: what is really listened on, and where. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

const LISTENING = '0A'

/** `address:port` in the kernel's hexadecimal of every TCP socket that listens, and of every UDP socket, in order. */
export function listening(): string[] {
  const mine = new Set(
    readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1] ?? []
      } catch {
        return []
      }
    }),
  )
  const rows = ['tcp', 'tcp6', 'udp', 'udp6'].flatMap((kind) =>
    readFileSync(`/proc/self/net/${kind}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter(
        ([, , , state, , , , , , inode = '']) =>
          mine.has(inode) && (kind.startsWith('udp') || state === LISTENING),
      )
      .map(([, local = '']) => `${kind} ${local}`),
  )
  return rows.sort()
}

/** As the kernel writes it. */
export const kernelAddress = (port: number): string =>
  `tcp 0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
