"""Verifies deliveries with the library of Standard Webhooks: a JSON file of secret, deliveries, and one that must be refused."""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

with open(sys.argv[1]) as file:
    told = json.load(file)
webhook = Webhook(told["secret"])
for delivery in told["deliveries"]:
    webhook.verify(delivery["body"], delivery["headers"])
for delivery in told["forged"]:
    try:
        webhook.verify(delivery["body"], delivery["headers"])
    except WebhookVerificationError:
        continue
    sys.exit("a forged delivery was verified")
print(f"{len(told['deliveries'])} verified")
