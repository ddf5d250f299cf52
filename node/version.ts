/** The version that this copy of Godwit says it is: package.json's. */
import about from '../package.json' with { type: 'json' }

export const VERSION: string = about.version
