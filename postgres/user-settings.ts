// What a user has switched on or off for all of their conversations. Who never changed anything has no row.
import type { UserId } from '../contracts/ids.ts';
import { row } from './pool.ts';
import type { Db } from './pool.ts';

export interface UserSettings {
  /** Facts are learnt and told to turns. */
  readonly isMemoryEnabled: boolean;
  /** New conversations may be used for training. */
  readonly isTrainingEligible: boolean;
}

interface SettingsRow {
  memory_enabled: boolean;
  training_eligible: boolean;
}

export async function findUserSettings(db: Db, userId: UserId): Promise<UserSettings> {
  return toSettings(
    await row<SettingsRow>(
      db,
      'select memory_enabled, training_eligible from user_settings where user_id = $1',
      [userId],
    ),
  );
}

/** Undefined leaves a setting as it is. */
export async function changeUserSettings(
  db: Db,
  userId: UserId,
  change: { readonly [Name in keyof UserSettings]?: boolean | undefined },
): Promise<UserSettings> {
  return toSettings(
    await row<SettingsRow>(
      db,
      `insert into user_settings as s (user_id, memory_enabled, training_eligible)
       values ($1, coalesce($2, true), coalesce($3, false))
       on conflict (user_id) do update set memory_enabled = coalesce($2, s.memory_enabled),
         training_eligible = coalesce($3, s.training_eligible)
       returning memory_enabled, training_eligible`,
      [userId, change.isMemoryEnabled ?? null, change.isTrainingEligible ?? null],
    ),
  );
}

function toSettings(found: SettingsRow | null): UserSettings {
  return {
    isMemoryEnabled: found?.memory_enabled ?? true,
    isTrainingEligible: found?.training_eligible ?? false,
  };
}

/** Whether facts may be told to a turn of conversation `c`: neither it nor its user has switched memory off. */
export const IS_MEMORY_ON =
  'c.memory_enabled and coalesce((select s.memory_enabled from user_settings s where s.user_id = c.user_id), true)';
