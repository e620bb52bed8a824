import { execa } from 'execa'

/** A release whose libuv names abstract sockets otherwise than that of Node 20. */
const VERSION = '24'

let found: Promise<string> | undefined

/** Returns the path of a Node.js of another release, which npm has as the package `node`. */
export function findOtherNode(): Promise<string> {
  found ??= execa('npx', ['-y', `node@${VERSION}`, '-p', 'process.execPath']).then(({ stdout }) =>
    stdout.trim(),
  )
  return found
}
