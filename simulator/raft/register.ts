/**
 * What the simulated clients agree on: a few keys, each a register with put, get and compare-and-set. Commands are texts,
 * each value is written once in a simulation, and `digest` is a hash over all that was carried out, so that two members
 * that got to the same index in different ways are told apart.
 */
export type Command =
  | { readonly kind: 'put'; readonly key: string; readonly value: number }
  | { readonly kind: 'cas'; readonly key: string; readonly from: number; readonly to: number }

export type Registers = {
  /** 0 stands for a key that was never written. */
  values: Map<string, number>
  digest: number
}

export const emptyRegisters = (): Registers => ({ values: new Map(), digest: 1 })

export function encodeCommand(command: Command): Uint8Array {
  const text =
    command.kind === 'put'
      ? `p ${command.key} ${command.value}`
      : `c ${command.key} ${command.from} ${command.to}`
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0))
}

/** @returns What was there before; a `cas` took effect if that is what it names. */
export function applyCommand(registers: Registers, index: number, data: Uint8Array): number {
  let text = ''
  for (const byte of data) text += String.fromCharCode(byte)
  const [kind, key = '', a = '0', b = '0'] = text.split(' ')
  const now = registers.values.get(key) ?? 0
  const done = kind === 'p' || now === Number(a)
  if (done) registers.values.set(key, Number(kind === 'p' ? a : b))
  registers.digest = mixed(mixed(registers.digest, index), hashOf(data) + Number(done))
  return now
}

export function encodeRegisters({ values, digest }: Registers): Uint8Array {
  return Buffer.from(JSON.stringify([digest, [...values]]))
}

export function decodeRegisters(data: Uint8Array): Registers {
  if (data.length === 0) return emptyRegisters()
  const [digest, values] = JSON.parse(Buffer.from(data).toString()) as [number, [string, number][]]
  return { digest, values: new Map(values) }
}

const mixed = (hash: number, value: number): number => {
  const x = Math.imul(hash ^ value ^ (hash >>> 15), 0x2c1b3c6d)
  return (x ^ (x >>> 12)) >>> 0
}

function hashOf(data: Uint8Array): number {
  let hash = 0x811c9dc5
  for (const byte of data) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}
