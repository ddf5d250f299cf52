/**
 * A small internet for tests of NAT: peers with public addresses on one LAN, and peers each behind a NAT router of its
 * own. The private networks all use the same addresses, as they do at home.
 *
 *   relay 11.0.0.10 ─┐
 *                    ├ br0 ── 11.0.0.1 (NAT) 192.168.1.1 ── 192.168.1.2 quay
 * stranger 11.0.0.11 ┘     ── 11.0.0.2 (NAT) 192.168.1.1 ── 192.168.1.3 mast
 *
 * 11.0.0.0/8 is nobody's here, and public as far as any library can tell; what is reserved for examples counts as private.
 */
import { join } from 'node:path'
import { failureOf, remove, run } from './namespaces.ts'

export type Nat = {
  /** What goes before a command to run it as that peer. */
  exec(peer: string): string[]
  close(): void
}

const MASQUERADE = join(import.meta.dirname, 'masquerade.pl')

/** Why there can be no such net on this machine, or undefined. */
export function whyNoNat(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'not root on Linux'
  const scratch = `godwit-${process.pid}-nat-probe`
  const none = failureOf('ip', 'netns', 'add', scratch)
  if (none !== undefined) return `no network namespaces: ${none}`
  const why = failureOf('ip', 'netns', 'exec', scratch, 'perl', MASQUERADE)
  remove([scratch])
  return why
}

export async function openNat(open: readonly string[], behind: readonly string[]): Promise<Nat> {
  const prefix = `godwit-${process.pid}-nat`
  const space = (name: string): string => `${prefix}.${name}`
  const router = (name: string): string => space(`${name}-router`)
  const namespaces = [prefix, ...open.map(space), ...behind.flatMap((name) => [space(name), router(name)])]
  const wire = (namespace: string, device: string, address: string): string[] => [
    `ip -n ${namespace} link add wan0 type veth peer name ${device} netns ${prefix}`,
    `ip -n ${prefix} link set ${device} master br0 up`,
    `ip -n ${namespace} addr add ${address}/24 dev wan0`,
    `ip -n ${namespace} link set wan0 up`,
  ]
  const close = (): void => remove(namespaces)
  process.once('exit', close)
  try {
    await run([
      ...namespaces.flatMap((name) => [`ip netns add ${name}`, `ip -n ${name} link set lo up`]),
      `ip -n ${prefix} link add br0 type bridge mcast_snooping 0`,
      `ip -n ${prefix} link set br0 up`,
      ...open.flatMap((name, n) => wire(space(name), `open${n}`, `11.0.0.${10 + n}`)),
      ...behind.flatMap((name, n) => [
        ...wire(router(name), `nat${n}`, `11.0.0.${1 + n}`),
        `ip -n ${space(name)} link add eth0 type veth peer name lan0 netns ${router(name)}`,
        `ip -n ${router(name)} addr add 192.168.1.1/24 dev lan0`,
        `ip -n ${router(name)} link set lan0 up`,
        `ip -n ${space(name)} addr add 192.168.1.${2 + n}/24 dev eth0`,
        `ip -n ${space(name)} link set eth0 up`,
        `ip -n ${space(name)} route add default via 192.168.1.1`,
        `ip netns exec ${router(name)} sh -ec 'echo 1 >/proc/sys/net/ipv4/ip_forward; perl ${MASQUERADE}'`,
      ]),
    ])
  } catch (error) {
    close()
    throw error
  }
  return { exec: (peer) => ['ip', 'netns', 'exec', space(peer)], close }
}
