import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type DownloadOptions, downloadFile } from '../../../src/image/download.js'
import { buildCli } from '../../support/built-cli.js'
import { failureOf } from '../../support/failure-of.js'
import { sendFile, startFileServer } from '../../support/file-server.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const MIB = 1024 ** 2
const CONTENT = randomBytes(4 * MIB)
const MODULE = new URL('../../../dist/src/image/download.js', import.meta.url).href

const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex')

function order(url: string, overrides: Partial<DownloadOptions> = {}): DownloadOptions {
  return {
    url,
    path: join(ownTmpdir(), 'file'),
    checksum: { algorithm: 'sha256', hex: sha256(CONTENT) },
    retryMs: 1,
    ...overrides,
  }
}

/** Returns a port on which no process listens. */
async function deadUrl(): Promise<string> {
  const server = await startFileServer(CONTENT)
  return server.url.replace(/:\d+/, ':1')
}

beforeAll(buildCli)

describe('downloadFile', () => {
  test('`downloadFile()` fetches a file and reports the progress', async () => {
    const server = await startFileServer(CONTENT)
    const amounts: string[] = []
    const wanted = order(server.url, { onAmount: (amount) => amounts.push(amount) })
    await downloadFile(wanted)
    expect(readFileSync(wanted.path).equals(CONTENT)).toBe(true)
    expect(amounts.at(-1)).toBe('4 MiB of 4 MiB (100 %)')
    expect(server.ranges).toEqual([undefined])
  })

  test('a download that does not fit on the disk is not started', async () => {
    const server = await startFileServer(CONTENT)
    server.respond = (_, response) =>
      void response.writeHead(200, { 'content-length': 2 ** 52 }).write(CONTENT)
    const wanted = order(server.url)
    const error = await failureOf(downloadFile(wanted))
    expect(error.code).toBe('NO_SPACE')
    expect(error.message).toMatch(
      /^The file system of .* does not have enough free space \(downloading http:.*\)\.\n {2}Expected: 4096 TiB more \(0 bytes already written\)\n {2}Got: {6}[\d.]+ [GMT]iB free\n/,
    )
    expect(existsSync(wanted.path)).toBe(false)
  })

  test('a download of unknown length is stopped before the disk is full', async () => {
    const small = join(ownTmpdir(), 'small')
    mkdirSync(small)
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=280m', 'none', small])
    onTestFinished(async () => void (await execa('umount', ['-l', small])))
    const server = await startFileServer(CONTENT)
    server.respond = (_, response) => {
      const send = (): void => {
        while (!response.destroyed) if (!response.write(CONTENT)) return void response.once('drain', send)
      }
      send()
    }
    const wanted = order(server.url, { path: join(small, 'file') })
    const error = await failureOf(downloadFile(wanted))
    expect(error.code).toBe('NO_SPACE')
    expect(error.message).toContain('Expected: 256 MiB of free space to remain (')
    expect(existsSync(wanted.path)).toBe(false)
  })

  test.each([
    ['a response with a range that was not requested', 0, 'HTTP 206 for a request of the whole file'],
    ['more bytes than the server reports', 10, 'more than the 100 bytes that the server reports'],
  ])('%s is not written', async (_, before, got) => {
    const server = await startFileServer(CONTENT)
    server.respond = (_, response) => {
      response.writeHead(206, { 'content-range': `bytes ${before}-99/100` })
      const send = (): void => {
        while (!response.destroyed) if (!response.write(CONTENT)) return void response.once('drain', send)
      }
      send()
    }
    const wanted = order(server.url)
    if (before > 0) writeFileSync(wanted.path, CONTENT.subarray(0, before))
    const error = await failureOf(downloadFile(wanted))
    expect(error.code).toBe('IMAGE_FETCH_FAILED')
    expect(error.message).toContain(`Got:      ${got}`)
    expect(readFileSync(wanted.path)).toHaveLength(0)
  })

  test('a download continues after a lost connection, as long as it makes progress', async () => {
    const server = await startFileServer(CONTENT)
    server.respond = (request, response) =>
      sendFile(CONTENT, request, response, { maxBytes: MIB, etag: '"1"' })
    const wanted = order(server.url)
    await downloadFile(wanted)
    expect(readFileSync(wanted.path).equals(CONTENT)).toBe(true)
    // The last bytes may be lost with the connection: the download then continues from there.
    const starts = server.ranges.map((range) => Number(/^bytes=(\d+)-$/.exec(range ?? 'bytes=0-')?.[1]))
    expect(starts[0]).toBe(0)
    expect(starts.length).toBeGreaterThanOrEqual(4)
    for (const [index, start] of starts.slice(1).entries()) {
      expect(start).toBeGreaterThan(starts[index] as number)
      expect(start).toBeLessThanOrEqual((starts[index] as number) + MIB)
    }
  })

  test('a download starts again if the server does not support ranges', async () => {
    const server = await startFileServer(CONTENT)
    server.respond = (request, response, number) =>
      sendFile(CONTENT, request, response, {
        supportsRanges: false,
        ...(number === 1 ? { maxBytes: MIB } : {}),
      })
    const wanted = order(server.url)
    await downloadFile(wanted)
    expect(readFileSync(wanted.path).equals(CONTENT)).toBe(true)
  })

  test.each([
    ['by its ETag', { first: '"old"', later: '"new"' }],
    ['by its checksum where the server does not say so', { first: undefined, later: undefined }],
  ])('a file that changes during a download is detected %s and fetched again', async (_, etags) => {
    const server = await startFileServer(CONTENT)
    const old = randomBytes(CONTENT.length)
    server.respond = (request, response, number) => {
      const etag = number === 1 ? etags.first : etags.later
      const tag = etag === undefined ? {} : { etag }
      if (number === 1) sendFile(old, request, response, { maxBytes: MIB, ...tag })
      else sendFile(CONTENT, request, response, tag)
    }
    const wanted = order(server.url)
    await downloadFile(wanted)
    expect(readFileSync(wanted.path).equals(CONTENT)).toBe(true)
  })

  test('a stalled download counts as a lost connection', async () => {
    const server = await startFileServer(CONTENT)
    server.respond = (request, response, number) => {
      if (number > 1) sendFile(CONTENT, request, response)
      else response.writeHead(200, { 'content-length': CONTENT.length }).write(CONTENT.subarray(0, MIB))
    }
    const wanted = order(server.url, { stallMs: 200 })
    await downloadFile(wanted)
    // On a busy host, the second request may stall too.
    expect(new Set(server.ranges)).toEqual(new Set([undefined, `bytes=${MIB}-`]))
  })

  test('a server that sends a byte now and then counts as stalled', async () => {
    const server = await startFileServer(CONTENT)
    server.respond = (_, response) => {
      response.writeHead(200, { 'content-length': CONTENT.length })
      const timer = setInterval(() => response.write('x'), 20)
      response.once('close', () => clearInterval(timer))
    }
    const signal = AbortSignal.timeout(20_000)
    const error = await failureOf(downloadFile(order(server.url, { stallMs: 300, signal })))
    expect(error.code).toBe('IMAGE_FETCH_FAILED')
    expect(error.message).toContain('Got:      less than 64 KiB in 0.3 s')
    expect(server.ranges).toHaveLength(5)
  })

  test('a slow server does not count as stalled', async () => {
    const content = CONTENT.subarray(0, MIB)
    const pieceBytes = content.length / 8
    const server = await startFileServer(content)
    server.respond = async (_, response) => {
      response.writeHead(200, { 'content-length': content.length })
      for (let at = 0; at < content.length; at += pieceBytes) {
        response.write(content.subarray(at, at + pieceBytes))
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
      response.end()
    }
    const checksum = { algorithm: 'sha256', hex: sha256(content) } as const
    await downloadFile(order(server.url, { stallMs: 1500, checksum }))
    expect(server.ranges).toHaveLength(1)
  })

  test('a download is retried after a temporary error of the server', async () => {
    const server = await startFileServer(CONTENT)
    server.respond = (request, response, number) => {
      if (number <= 2) response.writeHead(503).end()
      else sendFile(CONTENT, request, response)
    }
    await downloadFile(order(server.url))
    expect(server.ranges).toHaveLength(3)
  })

  test('a missing file is not requested again', async () => {
    const server = await startFileServer(CONTENT)
    server.respond = (_, response) => void response.writeHead(404).end()
    const error = await failureOf(downloadFile(order(server.url)))
    expect(error.message).toBe(`The image ${server.url} could not be downloaded.
  Got:      HTTP 404 Not Found
Fix: Check that \`curl -IL ${server.url}\` succeeds on this host, then retry.`)
    expect(error).toMatchObject({ code: 'IMAGE_FETCH_FAILED', kind: 'infrastructure' })
    expect(server.ranges).toHaveLength(1)
  })

  test.each([
    [204, 'HTTP 204 No Content'],
    [205, 'HTTP 205 Reset Content'],
  ])(
    'a response with status %i, which has no body, fails and keeps the received part',
    async (status, got) => {
      const server = await startFileServer(CONTENT)
      server.respond = (_, response) => void response.writeHead(status).end()
      const wanted = order(server.url)
      writeFileSync(wanted.path, CONTENT.subarray(0, MIB))
      const error = await failureOf(downloadFile(wanted))
      expect(error.code).toBe('IMAGE_FETCH_FAILED')
      expect(error.message).toContain(`Got:      ${got}`)
      expect(readFileSync(wanted.path)).toHaveLength(MIB)
    },
  )

  test('a download from an unreachable host fails, and the received part is kept', async () => {
    const wanted = order(await deadUrl())
    writeFileSync(wanted.path, CONTENT.subarray(0, MIB))
    const error = await failureOf(downloadFile(wanted))
    expect(error.code).toBe('IMAGE_FETCH_FAILED')
    expect(error.message).toMatch(/Got: +fetch failed: /)
    expect(error.hint).toContain('The partial download (1 MiB) is kept')
    expect(readFileSync(wanted.path)).toHaveLength(MIB)
  })

  test('a download with a wrong checksum is removed', async () => {
    const server = await startFileServer(CONTENT)
    const hex = '0'.repeat(128)
    const wanted = order(server.url, { checksum: { algorithm: 'sha512', hex } })
    const error = await failureOf(downloadFile(wanted))
    expect(error.message).toContain(`The image ${server.url} does not match its checksum.
  Expected: sha512 ${hex}
  Got:      sha512 `)
    expect(error.code).toBe('IMAGE_CHECKSUM_WRONG')
    expect(existsSync(wanted.path)).toBe(false)
    expect(server.ranges).toHaveLength(1)
  })

  test('a download ends when it is aborted', async () => {
    const server = await startFileServer(CONTENT)
    server.respond = (_, response) => void response.writeHead(200).write('x')
    const controller = new AbortController()
    setTimeout(() => controller.abort(new Error('enough')), 100)
    await expect(downloadFile(order(server.url, { signal: controller.signal }))).rejects.toThrow('enough')
  })

  test('a download of a killed process is continued by the next one', async () => {
    const server = await startFileServer(CONTENT)
    server.respond = (_, response) => {
      response.writeHead(200, { 'content-length': CONTENT.length }).write(CONTENT.subarray(0, 2 * MIB))
    }
    const wanted = order(server.url)
    const source = `
      const { downloadFile } = await import('${MODULE}')
      await downloadFile({ ...${JSON.stringify(wanted)}, onAmount: (amount) => console.log(amount) })`
    const killed = execa(process.execPath, ['--input-type=module', '-e', source], { reject: false })
    let output = ''
    await new Promise<void>((resolve) =>
      killed.stdout.on('data', (text) => {
        output += text
        if (/^2 MiB of 4 MiB \(50 %\)$/m.test(output)) resolve()
      }),
    )
    killed.kill('SIGKILL')
    await killed
    server.respond = (request, response) => sendFile(CONTENT, request, response)
    await downloadFile(wanted)
    expect(readFileSync(wanted.path).equals(CONTENT)).toBe(true)
    // The download continues after the last completed write.
    expect(server.ranges).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d{5,6}-$/)])
  })

  test('a full disk is reported, and the partial file is removed', async () => {
    const server = await startFileServer(CONTENT)
    const small = join(ownTmpdir(), 'small')
    mkdirSync(small)
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', small])
    onTestFinished(async () => void (await execa('umount', ['-l', small])))
    const wanted = order(server.url, { path: join(small, 'file') })
    expect((await failureOf(downloadFile(wanted))).code).toBe('NO_SPACE')
    expect(existsSync(wanted.path)).toBe(false)
  })

  /** Downloads in a process with these variables. Returns the message of the error; empty without one. */
  async function downloadWith(wanted: DownloadOptions, env: NodeJS.ProcessEnv): Promise<string> {
    const source = `
      const { downloadFile } = await import('${MODULE}')
      await downloadFile(${JSON.stringify(wanted)}).catch((error) => process.stdout.write(error.message))`
    const settings = {
      HTTP_PROXY: undefined,
      http_proxy: undefined,
      NO_PROXY: undefined,
      no_proxy: undefined,
    }
    return (
      await execa(process.execPath, ['--input-type=module', '-e', source], { env: { ...settings, ...env } })
    ).stdout
  }

  test('a download uses the proxy of the environment, except for the hosts of `NO_PROXY`', async () => {
    const proxy = await startFileServer(CONTENT)
    const seen: (string | undefined)[] = []
    proxy.respond = (request, response) => {
      seen.push(request.url, request.headers['proxy-authorization'])
      sendFile(CONTENT, request, response)
    }
    const address = new URL(proxy.url).host
    const env = { HTTP_PROXY: `http://user:secret@${address}` }
    const wanted = order('http://images.example/disk.img')
    expect(await downloadWith(wanted, env)).toBe('')
    expect(readFileSync(wanted.path).equals(CONTENT)).toBe(true)
    expect(seen).toEqual([wanted.url, `Basic ${Buffer.from('user:secret').toString('base64')}`])
    const server = await startFileServer(CONTENT)
    expect(await downloadWith(order(server.url), { ...env, NO_PROXY: '127.0.0.1' })).toBe('')
    expect([seen.length, server.ranges.length]).toEqual([2, 1])
  })

  test('the error of a download over https contains the response of the proxy', async () => {
    const proxy = createServer()
    proxy.on('connect', (_, socket) => socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'))
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void proxy.close())
    const { port } = proxy.address() as AddressInfo
    const message = await downloadWith(order('https://images.example/disk.img'), {
      HTTPS_PROXY: `http://127.0.0.1:${port}`,
    })
    expect(message).toContain(
      'fetch failed: Proxy response (407) !== 200 when HTTP Tunneling (proxy settings:',
    )
  })

  test('the error of a download names the proxy without its password', async () => {
    const wanted = order('http://images.example/disk.img')
    const message = await downloadWith(wanted, { HTTP_PROXY: 'http://user:secret@127.0.0.1:1' })
    expect(message).toMatch(
      /^The image http:\/\/images\.example\/disk\.img could not be downloaded\.\n {2}Got: {6}fetch failed: ECONNREFUSED \(proxy settings: HTTP_PROXY=http:\/\/\*\*\*@127\.0\.0\.1:1\)\n/,
    )
    expect(message).not.toContain('secret')
    expect(await downloadWith(wanted, { HTTP_PROXY: 'user:s@cret@proxy:3128' })).toBe(
      `A proxy setting of the environment is not a URL.
  Expected: http://HOST:PORT
  Got:      HTTP_PROXY=***@proxy:3128
Fix: Correct or unset the variable.`,
    )
  })
})
