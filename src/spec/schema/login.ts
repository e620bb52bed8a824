import { z } from 'zod'
import { isFile, isText, port, rule, text } from './rules.js'

/** Schema of the option `ssh`. */
export const ssh = z.strictObject({
  user: text('a user name'),
  privateKey: rule<string | Buffer | { file: string }>(
    'a private key as a string or bytes, or { file }',
    (value) => isText(value) || Buffer.isBuffer(value) || isFile(value),
  ),
  passphrase: text('a passphrase'),
  password: text('a password'),
  port: port(),
  hostPort: port(),
})

const isLine = (value: unknown) => isText(value) && !/[\r\n]/.test(value)

/** Schema of the option `login`. */
export const login = z.strictObject({
  user: z.custom<string>(isLine, { error: 'a user name on one line' }),
  password: rule<string>('a password on one line', isLine),
  prompt: rule<RegExp>('a RegExp', (value) => value instanceof RegExp),
})
