// Gives programs their own time of day: the library libfaketime reads its offset from a file. The monotonic clock stays that
// of the host, as when the clock of a host is set.
import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Returns the path of the library of Debian's package `libfaketime`; undefined if it is not installed. */
export function findClockLibrary() {
  return readdirSync('/usr/lib')
    .map((folder) => join('/usr/lib', folder, 'faketime/libfaketime.so.1'))
    .find((path) => existsSync(path))
}

/**
 * Returns the environment for programs, with a QEMU in `WITHVM_QEMU` that has the same clock, and a function that sets the
 * clock. Undefined if the library is not installed.
 */
export function makeClock(folder, qemu) {
  const library = findClockLibrary()
  if (library === undefined) return undefined
  const file = join(folder, 'clock')
  const settings = {
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
  }
  const wrapper = join(folder, 'qemu-with-clock')
  const words = Object.entries(settings).map(([name, value]) => `${name}='${value}'`)
  // withvm does not pass its whole environment to QEMU.
  writeFileSync(wrapper, `#!/bin/sh\nexec env LD_PRELOAD='${library}' ${words.join(' ')} ${qemu} "$@"\n`, {
    mode: 0o755,
  })
  /** Sets the offset from the host's clock, seconds. */
  const set = (seconds) => {
    // The rename makes the change atomic.
    writeFileSync(`${file}.new`, `${seconds < 0 ? '' : '+'}${Math.round(seconds)}\n`)
    renameSync(`${file}.new`, file)
  }
  set(0)
  return { env: { ...settings, LD_PRELOAD: library, WITHVM_QEMU: wrapper }, set }
}
