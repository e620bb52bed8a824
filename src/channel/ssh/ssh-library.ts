import type { Client, utils } from 'ssh2'
import { hasX25519 } from './algorithms.js'

type Ssh2 = { readonly Client: typeof Client; readonly utils: typeof utils }

let library: Promise<Ssh2> | undefined

/**
 * Loads the SSH library once. Call it while the guest boots: the first load takes tens of
 * milliseconds.
 */
export function loadSsh(): Promise<Ssh2> {
  library ??= import('ssh2').then((module) => {
    hasX25519() // cached for the first connection
    return module.default
  })
  return library
}
