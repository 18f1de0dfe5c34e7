"""The configuration of services: their fields, references and order, and the variant for a release."""
