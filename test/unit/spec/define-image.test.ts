import { describe, expect, test } from 'vitest'
import { defineImage, image } from 'withvm'
import type { VMError } from '../../../src/errors.js'

function messageOf(options: object): string {
  try {
    defineImage(options as Parameters<typeof defineImage>[0])
  } catch (error) {
    return (error as VMError).message
  }
  throw new Error('expected a failure')
}

describe('defineImage', () => {
  test('`defineImage()` reports all problems in one error', () => {
    expect(
      messageOf({
        name: 'a b',
        form: 'tiny',
        packages: ['nginx; reboot'],
        files: { 'etc/motd': 'x' },
        run: 'true',
        guest: { memory: '1X' },
      }),
    ).toBe(`defineImage(): 6 options are invalid.
  - name: expected a name of letters, digits, '.', '_' and '-', up to 60 of them, got "a b"
  - packages: expected a list of packages such as ['nginx-light', 'curl'], got ["nginx; reboot"]
  - files: expected files by absolute path, each a string, bytes, { content, mode: 0o755 } or { path, mode: 0o755 }, such as { '/etc/motd': 'hello' }, got {"etc/motd":"x"}
  - run: expected a list of shell commands, got "true"
  - guest.memory: expected an amount of memory such as '512M', '2G', or a number of MiB, at least 16 MiB, got "1X"
  - form: expected 'from', got an unknown option
Fix: Change the options listed above. docs/images.md describes all options.`)
  })

  test('`packages` requires Debian as the base, and `build` conflicts with `from`', () => {
    expect(messageOf({ name: 'web', from: 'tiny', packages: ['nginx-light'], build: () => {} })).toBe(
      `defineImage(): 2 options are invalid.
  - build: expected only one of \`build\` and \`from\`, got both
  - packages: expected \`from: 'debian'\` (install packages for other images in \`run\` or \`prepare\`), got ["nginx-light"]
Fix: Change the options listed above. docs/images.md describes all options.`,
    )
  })

  test('an unsupported architecture of an image is rejected', () => {
    expect(messageOf({ name: 'arm', arch: 'arm64' })).toContain(
      `arch: expected 'amd64', the only supported architecture, got "arm64"`,
    )
  })

  test('`defineImage()` accepts files of all forms, and other images as a base', () => {
    const files = {
      '/a': 'text',
      '/b': new Uint8Array([1]),
      '/c': { content: 'x', mode: 0o755 },
      '/d': { path: './d' },
    }
    const base = defineImage({ name: 'base', files })
    expect(() => defineImage({ name: 'more', from: base })).not.toThrow()
    expect(() => defineImage({ name: 'more', from: image('tiny').prepare(() => {}) })).not.toThrow()
    expect(() =>
      defineImage({ name: 'more', from: { url: 'https://host/a', sha256: 'a'.repeat(64) } }),
    ).not.toThrow()
  })
})
