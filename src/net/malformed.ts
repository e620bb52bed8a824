/** What a parser returns for bytes that contradict their protocol: they are counted and dropped. */
export const MALFORMED = Symbol('malformed')
