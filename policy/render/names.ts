import { hash } from 'node:crypto';
import type { Family } from '#core';
import type { SetId } from '../types.ts';

/** Linux accepts 28 characters as a chain name (XT_EXTENSION_MAXNAMELEN less its end). */
const CHAIN_NAME_MAX = 28;
/** IPSET_MAXNAMELEN less its end. */
const SET_NAME_MAX = 31;
/** What both iptables and nft take as it stands; a leading `_` is kept for hashed names, so the two can never meet. */
const PLAIN = /^[A-Za-z0-9.-][A-Za-z0-9._/-]*$/;

const digest = (text: string): string => hash('sha256', text, 'base64url');

/** Prefix and name as they are where they fit and are harmless, else the prefix, `_` and a hash that fills the 28 characters. */
export function chainName(prefix: string, raw: string): string {
  if (PLAIN.test(raw) && prefix.length + raw.length <= CHAIN_NAME_MAX) return prefix + raw;
  return `${prefix}_${digest(raw)}`.slice(0, CHAIN_NAME_MAX);
}

/** Name of a set in the kernel: `cali40` or `cali60` and the id, hashed where it does not fit 31 characters. */
export function setName(family: Family, id: SetId): string {
  const prefix = `cali${family}0`;
  if (/^[A-Za-z0-9.:-][A-Za-z0-9._:-]*$/.test(id) && prefix.length + id.length <= SET_NAME_MAX) return prefix + id;
  return `${prefix}_${digest(id)}`.slice(0, SET_NAME_MAX);
}
