/** The part of hypercore 11 that we use; it brings no types of its own. */
declare module 'hypercore' {
  export default class Hypercore {
    constructor(storage: string, options?: { keyPair?: { publicKey: Buffer; secretKey: Buffer } })
    readonly key: Buffer
    readonly length: number
    ready(): Promise<void>
    append(blocks: Uint8Array[]): Promise<{ length: number }>
    get(index: number): Promise<Buffer>
    close(): Promise<void>
  }
}
