import { execa } from 'execa'

/** Release whose libuv names abstract sockets differently than that of Node.js 20. */
const VERSION = '24'

let found: Promise<string> | undefined

/** Returns the path of another release of Node.js, which is installed from the npm package `node`. */
export function findOtherNode(): Promise<string> {
  found ??= execa('npx', ['-y', `node@${VERSION}`, '-p', 'process.execPath']).then(({ stdout }) =>
    stdout.trim(),
  )
  return found
}
