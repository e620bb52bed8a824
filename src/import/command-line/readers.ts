import type { Draft, ParsedOption } from './draft.js'

/** Readers by flag. A flag without a reader is passed through. */
export type Readers = Readonly<Record<string, (draft: Draft, given: ParsedOption) => void>>

/** Ignores a flag that withvm sets itself or that has no effect. */
export const ignore = () => {}

/** Drops a flag and reports the reason. */
export const drop = (reason: string) => (draft: Draft, given: ParsedOption) => {
  draft.translate(given, 'nothing', reason)
}
