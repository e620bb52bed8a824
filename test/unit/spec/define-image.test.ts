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
  test('tells all that is wrong at once', () => {
    expect(
      messageOf({
        name: 'a b',
        form: 'tiny',
        packages: ['nginx; reboot'],
        files: { 'etc/motd': 'x' },
        run: 'true',
        guest: { memory: '1X' },
      }),
    ).toBe(`defineImage(): 6 options are wrong.
  - name: expected a name of letters, digits, '.', '_' and '-', up to 60 of them, got "a b"
  - packages: expected a list of packages, as ['nginx-light', 'curl'], got ["nginx; reboot"]
  - files: expected files by absolute path, each a text, bytes, { content, mode: 0o755 } or { path, mode: 0o755 }, as { '/etc/motd': 'hello' }, got {"etc/motd":"x"}
  - run: expected a list of shell commands, got "true"
  - guest.memory: expected an amount of memory such as '512M', '2G', or a number of MiB above 0, got "1X"
  - form: expected 'from', got an option that does not exist
Fix: change what is listed above. docs/images.md has every option.`)
  })

  test('packages are installed into a Debian only, and an image is made from one thing', () => {
    expect(messageOf({ name: 'web', from: 'tiny', packages: ['nginx-light'], build: () => {} })).toBe(
      `defineImage(): 2 options are wrong.
  - build: expected one of them: what the image is made from, got a function beside \`from\`
  - packages: expected from: 'debian' beside it; in a guest of another image, install them by \`run\` or \`prepare\`, got ["nginx-light"]
Fix: change what is listed above. docs/images.md has every option.`,
    )
  })

  test('another architecture than there is, is told', () => {
    expect(messageOf({ name: 'arm', arch: 'arm64' })).toContain(
      `arch: expected 'amd64', the only architecture so far, got "arm64"`,
    )
  })

  test('takes files in all forms, and other images', () => {
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
