/** The dice of a real peer, and of commands that work on its folder: from the system's generator, 32 bits a throw. */
import { randomInt } from 'node:crypto'
import type { Dice } from '../protocols/clock.ts'

export const dice: Dice = () => randomInt(2 ** 32) / 2 ** 32
