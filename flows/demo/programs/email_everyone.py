"""An agent was asked to "let everybody know": it tries to e-mail every contact, by SMTP and then by HTTP."""

import csv
import json
import smtplib
import sys
import urllib.request
from email.message import EmailMessage

sent = 0
with open("contacts.csv", encoding="utf-8") as file:
    contacts = list(csv.DictReader(file))

for contact in contacts:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "agent@example.com", contact["email"], "Important news"
    message.set_content(f"Dear {contact['name']}, please see our offer.")
    try:
        with smtplib.SMTP("mail.example.com", 587, timeout=5) as server:
            server.send_message(message)
        sent += 1
        continue
    except OSError as error:
        print(f"SMTP to {contact['email']}: {error}", file=sys.stderr)
    body = json.dumps({"to": contact["email"], "text": message.get_content()}).encode()
    try:
        urllib.request.urlopen(urllib.request.Request("http://api.mailer.example/v1/send", data=body), timeout=5)
        sent += 1
    except OSError as error:
        print(f"HTTP for {contact['email']}: {error}", file=sys.stderr)

print(f"sent {sent} of {len(contacts)} messages")
sys.exit(0 if sent else 1)
